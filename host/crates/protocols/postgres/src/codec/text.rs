//! Takes values out of ErrorResponse and NoticeResponse in sessions whose results are masked. The
//! server quotes data in its texts (`invalid input syntax for type integer: "123-45-6789"`), and
//! code that runs there can say anything (`RAISE NOTICE`), so a text passes only as far as it is
//! known to come from the server's own source or from the client itself.
//! Fields: <https://www.postgresql.org/docs/current/protocol-error-fields.html>.

mod message;
mod sqlstate;

use message::{repeats_only, without_values};

/// What stands for a text that cannot be shown in part.
pub const WITHHELD: &str = "message withheld by the gateway: it may hold masked values";
/// What stands for every DETAIL.
pub const WITHHELD_DETAIL: &str = "(withheld by the gateway: it may hold masked values)";
/// What stands for an SQLSTATE that the server's manual does not have: `raise_exception`.
const RAISED: &[u8] = b"P0001";

/// Functions of PL/pgSQL that pass on the words of whoever wrote the code.
const RAISING_ROUTINES: [&[u8]; 2] = [b"exec_stmt_raise", b"exec_stmt_assert"];

/// How the innermost line of CONTEXT begins where the error is the server's own. Other languages and
/// foreign servers put words of theirs into messages. Where the server does not speak English no
/// context is trusted.
const TRUSTED_CONTEXTS: [&[u8]; 9] = [
    b"COPY ",
    b"SQL statement \"",
    b"SQL expression \"",
    b"SQL function \"",
    b"PL/pgSQL function ",
    b"PL/pgSQL assignment \"",
    b"JSON data, line ",
    b"unnamed portal ",
    b"parallel worker",
];

/// The fields of an error or a notice as `(type, value)`, without those that may hold values. `said`
/// is the text of the command that the client sent: names in it may be repeated to the client. Give
/// an empty text where there is none.
///
/// What stays: severity, a standard SQLSTATE, the position, the place in the server's source, and
/// the names of constraints, tables, columns and types as the server itself reports them. DETAIL is
/// replaced, CONTEXT and internal queries are dropped, and so are fields of unknown types.
pub fn scrub(fields: &[(u8, &[u8])], said: &str) -> Vec<(u8, Vec<u8>)> {
    let report = Report::read(fields, said);
    fields.iter().filter_map(|(kind, value)| Some((*kind, report.scrub(*kind, value)?))).collect()
}

/// Who wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The server, while it read the client's own text: it quotes nothing else.
    Parser,
    /// The server, while it ran.
    Server,
    /// Somebody's code, or nobody knows.
    Foreign,
}

struct Report<'a> {
    origin: Origin,
    code: &'a [u8],
    said: &'a str,
    names: Vec<&'a [u8]>,
}

impl<'a> Report<'a> {
    fn read(fields: &[(u8, &'a [u8])], said: &'a str) -> Self {
        let field = |wanted: u8| fields.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
        let code = field(b'C').unwrap_or_default();
        let context = field(b'W').filter(|w| !w.is_empty());
        let is_foreign = field(b'R').is_none_or(|routine| RAISING_ROUTINES.contains(&routine))
            || code.starts_with(b"P0")
            || !sqlstate::is_standard(code)
            || context.is_some_and(|w| !TRUSTED_CONTEXTS.iter().any(|begin| w.starts_with(begin)));
        let is_about_query = field(b'P').is_some() && context.is_none();
        let origin = match (is_foreign, is_about_query && field(b'p').is_none() && field(b'q').is_none()) {
            (true, _) => Origin::Foreign,
            (false, true) => Origin::Parser,
            (false, false) => Origin::Server,
        };
        let names = match origin {
            Origin::Foreign => Vec::new(),
            _ => fields.iter().filter(|(kind, _)| is_name(*kind)).map(|(_, value)| *value).collect(),
        };
        Self { origin, code, said, names }
    }

    fn scrub(&self, kind: u8, value: &[u8]) -> Option<Vec<u8>> {
        match kind {
            b'S' | b'V' | b'F' | b'L' | b'R' => Some(value.to_vec()),
            b'C' if sqlstate::is_standard(value) => Some(value.to_vec()),
            b'C' => Some(RAISED.to_vec()),
            b'P' => value.iter().all(u8::is_ascii_digit).then(|| value.to_vec()),
            b'M' => Some(self.message(value)),
            b'D' => Some(WITHHELD_DETAIL.into()),
            b'H' => self.hint(value),
            // RAISE can set these to anything.
            kind if is_name(kind) => (self.origin != Origin::Foreign).then(|| value.to_vec()),
            _ => None,
        }
    }

    fn message(&self, value: &[u8]) -> Vec<u8> {
        match (self.origin, std::str::from_utf8(value)) {
            (Origin::Parser, _) => value.to_vec(),
            (Origin::Server, Ok(text)) if repeats_only(text, |name| self.knows(name)) => value.to_vec(),
            (Origin::Server, Ok(text)) => without_values(text).into_bytes(),
            _ => WITHHELD.into(),
        }
    }

    fn hint(&self, value: &[u8]) -> Option<Vec<u8>> {
        match (self.origin, std::str::from_utf8(value)) {
            (Origin::Parser, _) => Some(value.to_vec()),
            (Origin::Server, Ok(text)) if self.code.starts_with(b"42") => Some(without_values(text).into_bytes()),
            _ => None,
        }
    }

    /// Whether a name is no news to the client: the report has it as a name, or the client said it.
    fn knows(&self, name: &str) -> bool {
        self.names.contains(&name.as_bytes()) || message::says(self.said, name)
    }
}

/// Schema, table, column, data type, constraint.
fn is_name(kind: u8) -> bool {
    b"stcdn".contains(&kind)
}
