//! PostgreSQL's lexer, as its manual (section 4.1) and its `scan.l` define it. It is the only reader of
//! the text: limits, splitting, normalising and parsing all start from its tokens. Where servers or
//! their settings could read a text differently, it refuses.

use crate::analysis::Limits;

/// The longest identifier that the server does not cut (`NAMEDATALEN` - 1), in bytes.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or an unquoted identifier.
    Word,
    /// A quoted identifier.
    Quoted,
    /// A string, bit string or dollar-quoted constant.
    Text,
    /// A number.
    Number,
    /// `$1`.
    Parameter,
    /// An operator.
    Operator,
    /// One of `, ( ) [ ] . ; : ::  :=`.
    Symbol,
}

/// A token and where it stands, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

impl Token {
    /// The token as it is written.
    pub fn text<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// The tokens of a text, or why it cannot be read. `conforming` is the server's setting
/// `standard_conforming_strings`.
pub fn lex(text: &str, conforming: bool, limits: &Limits) -> Result<Vec<Token>, String> {
    if text.len() > limits.max_bytes {
        return Err(format!("the text is longer than {} bytes", limits.max_bytes));
    }
    if text.as_bytes().contains(&0) {
        return Err("the text has a NUL byte".to_owned());
    }
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, conforming };
    let mut tokens = Vec::with_capacity(text.len() / 5);
    let mut depth = Depth::default();
    while let Some(token) = scanner.next()? {
        if tokens.len() == limits.max_tokens {
            return Err(format!("the text has more than {} tokens", limits.max_tokens));
        }
        if depth.after(&token, token.text(text)) > limits.max_depth {
            return Err(format!("the text nests deeper than {} levels", limits.max_depth));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// How deep parentheses, brackets and CASE nest.
#[derive(Default)]
struct Depth {
    brackets: usize,
    cases: usize,
}

impl Depth {
    fn after(&mut self, token: &Token, text: &str) -> usize {
        match (token.kind, text) {
            (Kind::Symbol, "(" | "[") => self.brackets += 1,
            (Kind::Symbol, ")" | "]") => self.brackets = self.brackets.saturating_sub(1),
            (Kind::Symbol, ";") => *self = Self::default(),
            (Kind::Word, word) if word.eq_ignore_ascii_case("case") => self.cases += 1,
            (Kind::Word, word) if word.eq_ignore_ascii_case("end") => self.cases = self.cases.saturating_sub(1),
            _ => {}
        }
        self.brackets + self.cases
    }
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    conforming: bool,
}

/// How the inside of a quoted constant is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    /// Plain: backslashes mean themselves.
    Plain,
    /// `E'..'`: backslashes escape.
    Escape,
}

impl Scanner<'_> {
    fn next(&mut self) -> Result<Option<Token>, String> {
        self.skip_space()?;
        let start = self.at;
        let Some(byte) = self.peek(0) else { return Ok(None) };
        let kind = match byte {
            b'\'' => self.quoted(Quoting::Plain)?,
            b'"' => self.quoted_identifier()?,
            b'$' => self.dollar()?,
            b'0'..=b'9' => self.number()?,
            b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit()) => self.number()?,
            byte if is_identifier_start(byte) => self.word_or_prefixed()?,
            b',' | b'(' | b')' | b'[' | b']' | b';' => self.take(1, Kind::Symbol),
            b'.' if self.peek(1) == Some(b'.') => return Err(self.refuse("`..`")),
            b'.' => self.take(1, Kind::Symbol),
            b':' if matches!(self.peek(1), Some(b':' | b'=')) => self.take(2, Kind::Symbol),
            b':' => self.take(1, Kind::Symbol),
            byte if is_operator(byte) => self.operator(),
            byte => return Err(self.refuse(&format!("the character {:?}", char::from(byte)))),
        };
        Ok(Some(Token { kind, start, end: self.at }))
    }

    fn skip_space(&mut self) -> Result<(), String> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(byte), _) if is_space(byte) => self.at += 1,
                (Some(b'-'), Some(b'-')) => self.line_comment(),
                (Some(b'/'), Some(b'*')) => self.block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n' && byte != b'\r') {
            self.at += 1;
        }
    }

    fn block_comment(&mut self) -> Result<(), String> {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                (Some(_), _) => self.at += 1,
                (None, _) => return Err("a comment does not end".to_owned()),
            }
        }
    }

    /// A quoted constant from its opening quote, with the parts that continue it on later lines.
    fn quoted(&mut self, quoting: Quoting) -> Result<Kind, String> {
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err("a string constant does not end".to_owned()),
                Some(b'\'') if self.peek(1) == Some(b'\'') => self.at += 2,
                Some(b'\'') => {
                    self.at += 1;
                    if !self.continues() {
                        return Ok(Kind::Text);
                    }
                }
                Some(b'\\') if quoting == Quoting::Escape => self.at += 2,
                Some(b'\\') if !self.conforming => {
                    return Err("a string constant has a backslash while standard_conforming_strings is off".to_owned());
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// Steps over the opening quote of a part that continues the constant: only white space and line
    /// comments stand between, with at least one line end.
    fn continues(&mut self) -> bool {
        let end = self.at;
        let mut line_end = false;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'\n' | b'\r'), _) => {
                    line_end = true;
                    self.at += 1;
                }
                (Some(byte), _) if is_space(byte) => self.at += 1,
                (Some(b'-'), Some(b'-')) => self.line_comment(),
                (Some(b'\''), _) if line_end => {
                    self.at += 1;
                    return true;
                }
                _ => {
                    self.at = end;
                    return false;
                }
            }
        }
    }

    fn quoted_identifier(&mut self) -> Result<Kind, String> {
        let start = self.at;
        self.at += 1;
        let mut doubled = 0;
        loop {
            match self.peek(0) {
                None => return Err("a quoted identifier does not end".to_owned()),
                Some(b'"') if self.peek(1) == Some(b'"') => {
                    doubled += 1;
                    self.at += 2;
                }
                Some(b'"') => break,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        match self.at - start - 2 - doubled {
            0 => Err("a quoted identifier is empty".to_owned()),
            length if length > MAX_IDENTIFIER_BYTES => Err(too_long()),
            _ => Ok(Kind::Quoted),
        }
    }

    /// `$1`, or a dollar-quoted constant.
    fn dollar(&mut self) -> Result<Kind, String> {
        if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
            return self.without_junk(Kind::Parameter, "a parameter");
        }
        let start = self.at;
        self.at += 1;
        if self.peek(0).is_some_and(is_identifier_start) {
            self.skip_while(|byte| is_identifier_start(byte) || byte.is_ascii_digit());
        }
        if self.peek(0) != Some(b'$') {
            self.at = start;
            return Err(self.refuse("a `$` that starts neither a parameter nor a constant"));
        }
        self.at += 1;
        let tag = self.bytes.get(start..self.at).unwrap_or_default();
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match find(rest, tag) {
            Some(body) => Ok(self.take(body + tag.len(), Kind::Text)),
            None => Err("a dollar-quoted constant does not end".to_owned()),
        }
    }

    /// A decimal number. Hexadecimal ones and digit groups, which servers before 16 read differently, are
    /// refused with whatever else directly follows the digits.
    fn number(&mut self) -> Result<Kind, String> {
        self.skip_while(|byte| byte.is_ascii_digit());
        if self.peek(0) == Some(b'.') {
            if self.peek(1) == Some(b'.') {
                return Err(self.refuse("`..`"));
            }
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1 + sign;
                self.skip_while(|byte| byte.is_ascii_digit());
            }
        }
        self.without_junk(Kind::Number, "a number")
    }

    fn without_junk(&self, kind: Kind, what: &str) -> Result<Kind, String> {
        match self.peek(0) {
            Some(byte) if is_identifier_part(byte) => Err(format!("{what} is directly followed by a letter")),
            _ => Ok(kind),
        }
    }

    fn word_or_prefixed(&mut self) -> Result<Kind, String> {
        match (self.peek(0), self.peek(1)) {
            (Some(b'e' | b'E'), Some(b'\'')) => {
                self.at += 1;
                return self.quoted(Quoting::Escape);
            }
            (Some(b'b' | b'B' | b'x' | b'X' | b'n' | b'N'), Some(b'\'')) => {
                self.at += 1;
                return self.quoted(Quoting::Plain);
            }
            (Some(b'u' | b'U'), Some(b'&')) if matches!(self.peek(2), Some(b'\'' | b'"')) => {
                return Err(self.refuse("a constant or identifier with U&"));
            }
            _ => {}
        }
        let start = self.at;
        self.skip_while(is_identifier_part);
        if self.at - start > MAX_IDENTIFIER_BYTES { Err(too_long()) } else { Ok(Kind::Word) }
    }

    /// The longest run of operator characters, up to a comment, and without a final `+` or `-` unless
    /// a character stands in it that SQL's own operators do not have.
    fn operator(&mut self) -> Kind {
        let start = self.at;
        while self.peek(0).is_some_and(is_operator) && !self.at_comment() {
            self.at += 1;
        }
        let run = self.bytes.get(start..self.at).unwrap_or_default();
        let mut length = run.len();
        if !run.iter().any(|byte| b"~!@#^&|`?%".contains(byte)) {
            while length > 1 && run.get(length - 1).is_some_and(|byte| matches!(byte, b'+' | b'-')) {
                length -= 1;
            }
        }
        self.at = start + length;
        Kind::Operator
    }

    fn at_comment(&self) -> bool {
        matches!((self.peek(0), self.peek(1)), (Some(b'-'), Some(b'-')) | (Some(b'/'), Some(b'*')))
    }

    fn take(&mut self, bytes: usize, kind: Kind) -> Kind {
        self.at += bytes;
        kind
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn refuse(&self, what: &str) -> String {
        format!("{what} at byte {} cannot be read for certain", self.at)
    }
}

fn too_long() -> String {
    format!("an identifier is longer than {MAX_IDENTIFIER_BYTES} bytes, and the server would cut it")
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

fn is_identifier_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_identifier_part(byte: u8) -> bool {
    is_identifier_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}
