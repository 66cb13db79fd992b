//! A denial in PostgreSQL's own words. The denied message is replaced upstream by one that the
//! server itself rejects, so that transaction state and skipping are the server's own; the error
//! that the client sees in its place is ours.

use bytes::{BufMut, Bytes, BytesMut};
use sluicegate_core::{Denial, DenialKind};

use crate::codec::message::{ObjectKind, message, notice, put_cstr};

/// What stands in the server's log where a denied text stood: a syntax error in any version.
const NO_STATEMENT: &[u8] = b"sluicegate: a statement was blocked here";

/// The name of no statement and of no portal: [`is_usable_name`] keeps clients from making one.
const NO_NAME: &[u8] = b"sluicegate: blocked";

/// Names that begin so are the gateway's own.
const OWN_NAMES: &str = "sluicegate";

/// The server cuts longer names, so that two of them could be one (NAMEDATALEN - 1).
const MAX_NAME: usize = 63;

/// Whether a client may give this name to a statement, portal or cursor.
pub fn is_usable_name(name: &str) -> bool {
    name.len() <= MAX_NAME && !name.starts_with(OWN_NAMES)
}

/// insufficient_privilege.
const INSUFFICIENT_PRIVILEGE: &[u8] = b"42501";
/// query_canceled.
const QUERY_CANCELED: &[u8] = b"57014";
/// io_error, for a record that cannot be written.
const IO_ERROR: &[u8] = b"58030";

/// The ErrorResponse for a denial.
pub fn error(denial: &Denial) -> Bytes {
    let code = match denial.kind {
        DenialKind::Record => IO_ERROR,
        DenialKind::Cancelled => QUERY_CANCELED,
        DenialKind::Policy | DenialKind::PolicyFailure | DenialKind::Gate | DenialKind::Approval => {
            INSUFFICIENT_PRIVILEGE
        }
    };
    // A cancelled command fails in PostgreSQL's own words, which have no hint.
    let hint = if denial.kind == DenialKind::Cancelled { "" } else { denial.hint() };
    response(b"ERROR", code, &denial.to_string(), hint)
}

/// The server's own error for a command in a transaction that has failed.
pub fn aborted() -> Bytes {
    let text = "current transaction is aborted, commands ignored until end of transaction block";
    response(b"ERROR", b"25P02", text, "")
}

/// The server's own error for a statement or portal that does not exist, said by the gate because
/// it does not know the name either.
pub fn unknown(kind: ObjectKind, name: &str) -> Bytes {
    match kind {
        ObjectKind::Statement => {
            response(b"ERROR", b"26000", &format!("prepared statement \"{name}\" does not exist"), "")
        }
        ObjectKind::Portal => response(b"ERROR", b"34000", &format!("portal \"{name}\" does not exist"), ""),
    }
}

/// An ErrorResponse after which the connection ends.
pub fn fatal(code: &str, text: &str, hint: &str) -> Bytes {
    response(b"FATAL", code.as_bytes(), text, hint)
}

fn response(severity: &[u8], code: &[u8], text: &str, hint: &str) -> Bytes {
    let fields = [(b'S', severity), (b'V', severity), (b'C', code), (b'M', text.as_bytes()), (b'H', hint.as_bytes())];
    notice(b'E', fields.into_iter().filter(|(_, text)| !text.is_empty()))
}

/// In place of a Query or FunctionCall: a text with a syntax error.
pub fn query() -> Bytes {
    message(b'Q', |out| put_cstr(out, NO_STATEMENT))
}

/// In place of a Parse. Like any Parse of the unnamed statement it drops the former one.
pub fn parse() -> Bytes {
    message(b'P', |out| {
        out.put_u8(0);
        put_cstr(out, NO_STATEMENT);
        out.put_u16(0);
    })
}

/// In place of a Bind: of a statement that does not exist.
pub fn bind() -> Bytes {
    message(b'B', |out| {
        out.put_u8(0);
        put_cstr(out, NO_NAME);
        out.put_slice(&[0; 6]);
    })
}

/// In place of an Execute: of a portal that does not exist.
pub fn execute() -> Bytes {
    message(b'E', |out: &mut BytesMut| {
        put_cstr(out, NO_NAME);
        out.put_u32(0);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message::notice_fields;

    #[test]
    fn a_denial_is_an_error_of_the_protocol() {
        let denial = Denial { kind: DenialKind::Policy, policy: Some("sql-guard".into()), reason: "no drop".into() };
        let bytes = error(&denial);
        let fields = notice_fields(&bytes).unwrap();
        assert!(fields.contains(&(b'C', b"42501")));
        assert!(fields.contains(&(b'M', b"blocked by policy sql-guard: no drop")));
    }

    #[test]
    fn a_denial_has_the_code_of_its_kind() {
        let code = |kind| {
            let bytes = error(&Denial::of(kind, "why"));
            let fields = notice_fields(&bytes).unwrap();
            fields.into_iter().find_map(|(field, text)| (field == b'C').then(|| text.to_vec())).unwrap()
        };
        assert_eq!(code(DenialKind::Record), b"58030");
        assert_eq!(code(DenialKind::Cancelled), b"57014");
        assert_eq!(code(DenialKind::Approval), b"42501");
    }
}
