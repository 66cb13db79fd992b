//! Views of a lexed text: its statements, its normalised form, a cursor for the recognisers, and the
//! tokens that sqlparser reads.

use sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Token as Parsed, Tokenizer},
};

use crate::lex::{Kind, Token};

/// Some tokens of a text.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'t> {
    text: &'t str,
    tokens: &'t [Token],
}

impl<'t> Tokens<'t> {
    /// These tokens of this text.
    pub fn new(text: &'t str, tokens: &'t [Token]) -> Self {
        Self { text, tokens }
    }

    /// How many.
    pub fn len(self) -> usize {
        self.tokens.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens from this index on.
    pub fn from(self, index: usize) -> Self {
        Self { tokens: self.tokens.get(index..).unwrap_or_default(), ..self }
    }

    /// The tokens before this index.
    pub fn to(self, index: usize) -> Self {
        Self { tokens: self.tokens.get(..index).unwrap_or(self.tokens), ..self }
    }

    /// The text that the tokens cover.
    pub fn source(self) -> &'t str {
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => self.text.get(first.start..last.end).unwrap_or_default(),
            _ => "",
        }
    }

    /// The kind of the token at this index.
    pub fn kind(self, index: usize) -> Option<Kind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    /// The token at this index as written; empty beyond the end.
    pub fn raw(self, index: usize) -> &'t str {
        self.tokens.get(index).map_or("", |token| token.text(self.text))
    }

    /// Whether this unquoted word, given in lower case, stands at this index.
    pub fn is_word(self, index: usize, word: &str) -> bool {
        self.kind(index) == Some(Kind::Word) && self.raw(index).eq_ignore_ascii_case(word)
    }

    /// Whether these words stand from this index on.
    pub fn are_words(self, index: usize, words: &str) -> bool {
        words.split(' ').enumerate().all(|(offset, word)| self.is_word(index + offset, word))
    }

    /// Whether this symbol or operator stands at this index.
    pub fn is_symbol(self, index: usize, symbol: &str) -> bool {
        matches!(self.kind(index), Some(Kind::Symbol | Kind::Operator)) && self.raw(index) == symbol
    }

    /// The identifier at this index, folded as the server folds it.
    pub fn identifier(self, index: usize) -> Option<String> {
        match self.kind(index)? {
            Kind::Word => Some(self.raw(index).to_ascii_lowercase()),
            Kind::Quoted => {
                let raw = self.raw(index);
                Some(raw.get(1..raw.len() - 1)?.replace("\"\"", "\""))
            }
            _ => None,
        }
    }

    /// The index after the bracket that closes the one at this index; the end if none does.
    pub fn after_bracket(self, index: usize) -> usize {
        let mut depth = 0_usize;
        for at in index..self.len() {
            match self.raw(at) {
                "(" | "[" if self.kind(at) == Some(Kind::Symbol) => depth += 1,
                ")" | "]" if self.kind(at) == Some(Kind::Symbol) => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        self.len()
    }

    /// The first index from `index` on, outside brackets, where these words stand.
    pub fn find_words(self, index: usize, words: &str) -> Option<usize> {
        let mut at = index;
        while at < self.len() {
            if self.is_symbol(at, "(") || self.is_symbol(at, "[") {
                at = self.after_bracket(at);
            } else if self.are_words(at, words) {
                return Some(at);
            } else {
                at += 1;
            }
        }
        None
    }

    /// The statements: what stands between top-level semicolons, without the empty ones.
    pub fn statements(self) -> Result<Vec<Self>, String> {
        let mut statements = Vec::new();
        let mut start = 0;
        let mut brackets = 0_usize;
        for at in 0..self.len() {
            match (self.kind(at), self.raw(at)) {
                (Some(Kind::Symbol), "(" | "[") => brackets += 1,
                (Some(Kind::Symbol), ")" | "]") => brackets = brackets.saturating_sub(1),
                (Some(Kind::Symbol), ";") if brackets == 0 => {
                    statements.push(self.to(at).from(start));
                    start = at + 1;
                }
                (Some(Kind::Word), _) if brackets == 0 && self.opens_body(start, at) => {
                    statements.push(self.from(start).only_body()?);
                    return Ok(statements);
                }
                _ => {}
            }
        }
        statements.push(self.from(start));
        statements.retain(|statement| !statement.is_empty());
        Ok(statements)
    }

    /// Whether a routine's body in SQL opens here, whose semicolons do not end the statement.
    fn opens_body(self, start: usize, at: usize) -> bool {
        if !self.are_words(at, "begin atomic") || !self.is_word(start, "create") {
            return false;
        }
        let what = if self.are_words(start + 1, "or replace") { start + 3 } else { start + 1 };
        self.is_word(what, "function") || self.is_word(what, "procedure")
    }

    /// These tokens without their last semicolon, if a routine's body ends only with them.
    fn only_body(self) -> Result<Self, String> {
        let body = if self.is_symbol(self.len() - 1, ";") { self.to(self.len() - 1) } else { self };
        let ends = |at: &usize| self.is_symbol(*at, ";") && self.is_word(*at + 1, "end");
        let last = (0..self.len()).find(ends).map(|at| at + 2);
        if last == Some(body.len()) && (0..self.len()).filter(ends).count() == 1 {
            return Ok(body);
        }
        Err("a routine with BEGIN ATOMIC must be the last statement of its text".to_owned())
    }

    /// The text with every literal replaced by `?` and without comments; white space is one blank.
    pub fn normalized(self) -> String {
        let mut normalized = String::with_capacity(self.source().len());
        let mut end = None;
        for token in self.tokens {
            if end.is_some_and(|end| end != token.start) {
                normalized.push(' ');
            }
            match token.kind {
                Kind::Text | Kind::Number => normalized.push('?'),
                _ => normalized.push_str(token.text(self.text)),
            }
            end = Some(token.end);
        }
        normalized
    }

    /// The value of the string constant at this index; none where it is not one or continues on a
    /// further line.
    pub fn constant(self, index: usize) -> Option<String> {
        if self.kind(index)? != Kind::Text {
            return None;
        }
        let raw = self.raw(index);
        match raw.as_bytes().first()? {
            b'\'' => plain(raw),
            b'e' | b'E' => escaped(raw.get(1..)?),
            b'$' => {
                let tag = raw.get(1..)?.find('$')? + 2;
                raw.get(tag..raw.len() - tag).map(str::to_owned)
            }
            _ => None,
        }
    }

    /// The tokens that sqlparser reads. Literals lose their values, so that what is found about a text
    /// is the same for every text that normalises alike.
    pub fn parsed(self) -> Vec<Parsed> {
        let mut parsed = Vec::with_capacity(self.len() + 2);
        let mut index = 0;
        while index < self.len() {
            let (spelled, taken) = self.respelled(index);
            parsed.extend(spelled);
            if taken == 0 {
                parsed.push(self.parsed_token(index));
                index += 1;
            }
            index += taken;
        }
        parsed
    }

    fn parsed_token(self, index: usize) -> Parsed {
        match self.kind(index) {
            Some(Kind::Word) => Parsed::make_word(&self.raw(index).to_ascii_lowercase(), None),
            Some(Kind::Quoted) => Parsed::make_word(&self.identifier(index).unwrap_or_default(), Some('"')),
            Some(Kind::Text) => Parsed::SingleQuotedString(String::new()),
            Some(Kind::Number) => Parsed::Number("1".to_owned(), false),
            Some(Kind::Parameter) => Parsed::Placeholder(self.raw(index).to_owned()),
            Some(Kind::Operator | Kind::Symbol) => symbol(self.raw(index)),
            None => Parsed::EOF,
        }
    }
}

/// What sqlparser calls an operator. One that it would read as two, or not at all, is a custom one.
pub(crate) fn symbol(raw: &str) -> Parsed {
    match raw {
        "," => Parsed::Comma,
        "(" => Parsed::LParen,
        ")" => Parsed::RParen,
        "[" => Parsed::LBracket,
        "]" => Parsed::RBracket,
        "." => Parsed::Period,
        ";" => Parsed::SemiColon,
        ":" => Parsed::Colon,
        "::" => Parsed::DoubleColon,
        // The older spelling of `=>`.
        ":=" => Parsed::RArrow,
        "=" => Parsed::Eq,
        "*" => Parsed::Mul,
        _ => match Tokenizer::new(&PostgreSqlDialect {}, raw).tokenize().as_deref() {
            Ok([only]) => only.clone(),
            _ => Parsed::CustomBinaryOperator(raw.to_owned()),
        },
    }
}

fn plain(raw: &str) -> Option<String> {
    let body = raw.get(1..raw.len().checked_sub(1)?)?;
    // A quote that is not doubled is the end of one part of a continued constant.
    let unpaired = body.replace("''", "").contains('\'');
    (!unpaired).then(|| body.replace("''", "'"))
}

/// The value of `E'..'` from its quote on; only the escapes that COPY's options need.
fn escaped(raw: &str) -> Option<String> {
    let body = raw.get(1..raw.len().checked_sub(1)?)?;
    let mut value = String::with_capacity(body.len());
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                characters.next().filter(|next| *next == '\'')?;
                value.push('\'');
            }
            '\\' => value.push(match characters.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => hexadecimal(&mut characters)?,
                'u' | 'U' | '0'..='7' => return None,
                other => other,
            }),
            other => value.push(other),
        }
    }
    Some(value)
}

/// The character after `\x`: one or two digits, ASCII only.
fn hexadecimal(characters: &mut std::str::Chars<'_>) -> Option<char> {
    let mut code = 0;
    for position in 0..2 {
        let Some(digit) = characters.as_str().chars().next().and_then(|next| next.to_digit(16)) else {
            return (position > 0).then(|| char::from_u32(code))?;
        };
        characters.next();
        code = code * 16 + digit;
    }
    (code < 0x80).then(|| char::from_u32(code))?
}
