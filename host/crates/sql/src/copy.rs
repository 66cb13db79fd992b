//! Reads COPY, in its present syntax and in those of PostgreSQL 8.4 and 7.2 that servers still accept.

use sluicegate_core::{
    result::ColumnName,
    sql::{Access, Classes, Usage},
};
use sqlparser::tokenizer::Token;

use crate::{
    analysis::{Copy, CopyFormat, Direction, Output, Outputs, Statement},
    catalog::Relation,
    facts::Facts,
    lex::Kind,
    names::Named,
    reader::Read,
    statement::{Session, is_readable},
    tokens::Tokens,
    utility,
};

impl Session<'_> {
    /// `COPY relation [(columns)] | (query)  FROM | TO  place [[WITH] options] [WHERE condition]`.
    pub(crate) fn copy(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let mut options = Options::default();
        let binary = tokens.is_word(1, "binary") && !tokens.is_word(2, "from") && !tokens.is_word(2, "to");
        if binary {
            options.format = CopyFormat::Binary;
        }
        let subject = 1 + usize::from(binary);
        let mut statement = Statement::new("copy");
        let mut copy = Copy::new();
        let at = if tokens.is_symbol(subject, "(") {
            let at = tokens.after_bracket(subject);
            let inner = self.copied_query(tokens.to(at - 1).from(subject + 1), facts)?;
            copy.columns = match &inner.outputs {
                Outputs::Aligned(outputs) => Some(outputs.clone()),
                Outputs::None | Outputs::Unknown => None,
            };
            statement = Statement { kind: "copy".to_owned(), outputs: Outputs::None, ..inner };
            at
        } else {
            let (named, at) = utility::name(tokens, subject)?;
            let (columns, at) = columns(tokens, at)?;
            copy.direction = direction(tokens, at)?;
            self.copied_relation(&named, columns.as_deref(), &mut copy, facts)?;
            at
        };
        copy.direction = direction(tokens, at)?;
        facts.class(if copy.direction == Direction::Out { Classes::READ } else { Classes::DML });
        let at = place(tokens, at + 1, &mut copy, facts)?;
        let end = tokens.find_words(at, "where").unwrap_or(tokens.len());
        options.read(tokens.to(end), at)?;
        options.apply(&mut copy);
        if end < tokens.len() {
            self.copy_condition(tokens.from(end), facts)?;
        }
        statement.copy = Some(copy);
        Ok(statement)
    }

    fn copied_query(&mut self, query: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        if !is_readable(query) {
            return Err("COPY takes a query or a write in its parentheses".to_owned());
        }
        let mut inner_facts = Facts::default();
        let inner = self.tree(query, &mut inner_facts)?;
        inner_facts.kind(&inner.kind);
        self.include(facts, &inner_facts.finish(1))?;
        Ok(inner)
    }

    fn copied_relation(
        &mut self,
        named: &Named,
        columns: Option<&[String]>,
        copy: &mut Copy,
        facts: &mut Facts,
    ) -> Read<()> {
        let (access, usage) = match copy.direction {
            Direction::In => (Access::INSERT, Usage::WRITE),
            Direction::Out => (Access::READ, Usage::OUTPUT),
        };
        let found = self.names.note(facts, named, access);
        copy.relation = found.map(|relation| relation.oid);
        copy.name = Some(found.map_or_else(|| named.as_relation_name(), |relation| relation.name.clone()));
        let Some(relation) = found else {
            columns.into_iter().flatten().for_each(|column| facts.unplaced_column(column, usage));
            return Ok(());
        };
        self.names.budget.list(columns.map_or(relation.columns.len(), <[String]>::len))?;
        copy.columns = self.fields(relation, columns);
        for output in copy.columns.iter().flatten() {
            self.names.budget.spend(output.sources.len())?;
            facts.columns(output, usage);
        }
        Ok(())
    }

    fn fields(&self, relation: &Relation, columns: Option<&[String]>) -> Option<Vec<Output>> {
        let resolve = |attnum| {
            let (resolution, sources): (_, Vec<ColumnName>) = self.names.catalog.resolve(relation.oid, attnum);
            Output { resolution, sources }
        };
        match columns {
            None => Some(relation.columns.iter().map(|column| resolve(column.attnum)).collect()),
            Some(names) => names.iter().map(|name| Some(resolve(relation.column(name)?.attnum))).collect(),
        }
    }

    /// The condition after WHERE may call functions; its columns are those that arrive.
    fn copy_condition(&mut self, condition: Tokens<'_>, facts: &mut Facts) -> Read<()> {
        let select = std::iter::once(Token::make_word("select", None)).chain(condition.parsed()).collect();
        let mut condition_facts = Facts::default();
        self.parsed(select, &mut condition_facts)?;
        let mut found = condition_facts.finish(1);
        found.kinds.clear();
        found.classes = Classes::empty();
        self.include(facts, &found)
    }
}

impl Copy {
    fn new() -> Self {
        Self {
            direction: Direction::Out,
            relation: None,
            name: None,
            columns: None,
            format: CopyFormat::Text,
            delimiter: b'\t',
            null: "\\N".to_owned(),
            header: false,
            quote: b'"',
            escape: b'"',
            server_side: false,
        }
    }
}

#[derive(Debug)]
struct Options {
    format: CopyFormat,
    delimiter: Option<u8>,
    null: Option<String>,
    header: bool,
    quote: Option<u8>,
    escape: Option<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Self { format: CopyFormat::Text, delimiter: None, null: None, header: false, quote: None, escape: None }
    }
}

impl Options {
    fn read(&mut self, tokens: Tokens<'_>, at: usize) -> Read<()> {
        let at = at + usize::from(tokens.is_word(at, "with"));
        if tokens.is_symbol(at, "(") {
            let end = tokens.after_bracket(at);
            if end != tokens.len() {
                return Err("COPY has more than its options".to_owned());
            }
            return self.listed(tokens.to(end - 1), at + 1);
        }
        self.old(tokens, at)
    }

    /// `(NAME value, NAME value)`.
    fn listed(&mut self, tokens: Tokens<'_>, mut at: usize) -> Read<()> {
        while at < tokens.len() {
            let name = tokens.identifier(at).ok_or("an option of COPY lacks its name")?;
            at = self.option(tokens, at + 1, &name)?;
            if at < tokens.len() && !tokens.is_symbol(at, ",") {
                return Err(format!("the option {name} of COPY cannot be read"));
            }
            at += 1;
        }
        Ok(())
    }

    fn option(&mut self, tokens: Tokens<'_>, at: usize, name: &str) -> Read<usize> {
        match name {
            "format" => {
                self.format = match word_or_constant(tokens, at).as_deref() {
                    Some("text") => CopyFormat::Text,
                    Some("csv") => CopyFormat::Csv,
                    Some("binary") => CopyFormat::Binary,
                    _ => return Err("COPY has a format that is not known".to_owned()),
                };
                return Ok(at + 1);
            }
            "delimiter" => self.delimiter = Some(byte(tokens, at)?),
            "quote" => self.quote = Some(byte(tokens, at)?),
            "escape" => self.escape = Some(byte(tokens, at)?),
            "null" => self.null = Some(constant(tokens, at)?),
            "header" => return self.header(tokens, at),
            "encoding" => utf8(tokens, at)?,
            "freeze" | "oids" | "default" | "on_error" | "log_verbosity" | "reject_limit" => {
                return Ok(past_value(tokens, at));
            }
            "force_quote" | "force_not_null" | "force_null" => {
                let listed = tokens.is_symbol(at, "(");
                return Ok(if listed { tokens.after_bracket(at) } else { at + 1 });
            }
            other => return Err(format!("COPY has an option that is not known, {other}")),
        }
        Ok(at + 1)
    }

    fn header(&mut self, tokens: Tokens<'_>, at: usize) -> Read<usize> {
        if at == tokens.len() || tokens.is_symbol(at, ",") {
            self.header = true;
            return Ok(at);
        }
        // A number, such as 0, is a literal like any other.
        self.header = match word_or_constant(tokens, at).as_deref().or(Some(tokens.raw(at))) {
            Some("true" | "on" | "match" | "1") => true,
            Some("false" | "off" | "0") => false,
            _ => return Err("COPY has a HEADER that is not known".to_owned()),
        };
        Ok(at + 1)
    }

    /// `[USING] DELIMITERS 'x' WITH NULL AS '' CSV HEADER ...`.
    fn old(&mut self, tokens: Tokens<'_>, mut at: usize) -> Read<()> {
        while at < tokens.len() {
            let name = tokens.identifier(at).ok_or("an option of COPY lacks its name")?;
            let value = at + 1 + usize::from(tokens.is_word(at + 1, "as"));
            at = match name.as_str() {
                "binary" => self.chosen(CopyFormat::Binary, at),
                "csv" => self.chosen(CopyFormat::Csv, at),
                "header" => {
                    self.header = true;
                    at + 1
                }
                "using" | "with" | "freeze" => at + 1,
                "delimiter" | "delimiters" => self.option(tokens, value, "delimiter")?,
                "null" | "quote" | "escape" => self.option(tokens, value, &name)?,
                "encoding" => self.option(tokens, at + 1, "encoding")?,
                "force" => forced(tokens, at + 1)?,
                other => return Err(format!("COPY has an option that is not known, {other}")),
            };
        }
        Ok(())
    }

    fn chosen(&mut self, format: CopyFormat, at: usize) -> usize {
        self.format = format;
        at + 1
    }

    fn apply(self, copy: &mut Copy) {
        let csv = self.format == CopyFormat::Csv;
        copy.format = self.format;
        copy.delimiter = self.delimiter.unwrap_or(if csv { b',' } else { b'\t' });
        copy.null = self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() });
        copy.header = self.header;
        copy.quote = self.quote.unwrap_or(b'"');
        copy.escape = self.escape.unwrap_or(copy.quote);
    }
}

/// The columns in parentheses, and where they end.
fn columns(tokens: Tokens<'_>, at: usize) -> Read<(Option<Vec<String>>, usize)> {
    if !tokens.is_symbol(at, "(") {
        return Ok((None, at));
    }
    let end = tokens.after_bracket(at);
    let names = (at + 1..end - 1).step_by(2).map(|at| tokens.identifier(at)).collect::<Option<Vec<_>>>();
    let commas = (at + 2..end - 1).step_by(2).all(|at| tokens.is_symbol(at, ","));
    match names {
        Some(names) if commas => Ok((Some(names), end)),
        _ => Err("COPY's columns cannot be read".to_owned()),
    }
}

fn direction(tokens: Tokens<'_>, at: usize) -> Read<Direction> {
    match (tokens.is_word(at, "from"), tokens.is_word(at, "to")) {
        (true, _) => Ok(Direction::In),
        (_, true) => Ok(Direction::Out),
        _ => Err("COPY lacks FROM or TO".to_owned()),
    }
}

/// Where the data goes or comes from.
fn place(tokens: Tokens<'_>, at: usize, copy: &mut Copy, facts: &mut Facts) -> Read<usize> {
    if tokens.is_word(at, "stdin") || tokens.is_word(at, "stdout") {
        return Ok(at + 1);
    }
    copy.server_side = true;
    facts.reaches_unknown();
    let program = tokens.is_word(at, "program");
    facts.class(if program { Classes::OPAQUE | Classes::ADMIN } else { Classes::ADMIN });
    let at = at + usize::from(program);
    match tokens.kind(at) {
        Some(Kind::Text) => Ok(at + 1),
        _ => Err("COPY's file cannot be read".to_owned()),
    }
}

/// `FORCE [NOT] NULL | QUOTE  * | column, ...`.
fn forced(tokens: Tokens<'_>, at: usize) -> Read<usize> {
    let at = match (tokens.are_words(at, "not null"), tokens.is_word(at, "null") || tokens.is_word(at, "quote")) {
        (true, _) => at + 2,
        (_, true) => at + 1,
        _ => return Err("COPY has a FORCE that is not known".to_owned()),
    };
    if tokens.is_symbol(at, "*") {
        return Ok(at + 1);
    }
    let mut at = at + 1;
    while tokens.is_symbol(at, ",") {
        at += 2;
    }
    Ok(at)
}

fn past_value(tokens: Tokens<'_>, at: usize) -> usize {
    if at == tokens.len() || tokens.is_symbol(at, ",") { at } else { at + 1 }
}

fn word_or_constant(tokens: Tokens<'_>, at: usize) -> Option<String> {
    tokens.identifier(at).or_else(|| tokens.constant(at)).map(|value| value.to_ascii_lowercase())
}

fn constant(tokens: Tokens<'_>, at: usize) -> Read<String> {
    tokens.constant(at).ok_or_else(|| "an option of COPY has a value that cannot be read".to_owned())
}

fn byte(tokens: Tokens<'_>, at: usize) -> Read<u8> {
    match constant(tokens, at)?.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err("an option of COPY is not one byte".to_owned()),
    }
}

/// Masks read the data as UTF-8.
fn utf8(tokens: Tokens<'_>, at: usize) -> Read<()> {
    match word_or_constant(tokens, at).as_deref() {
        Some("utf8" | "utf-8" | "unicode") => Ok(()),
        _ => Err("COPY is in another encoding than UTF-8".to_owned()),
    }
}
