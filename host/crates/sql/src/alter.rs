//! What ALTER does to the columns and names of relations: it moves, renames and recomputes them. Each of these
//! has a name of its own among the statement's kinds, such as `alter table rename`.

use sluicegate_core::{
    result::ColumnName,
    sql::{Access, Usage},
};

use crate::{
    catalog::Relation,
    facts::Facts,
    lex::Kind,
    names::Named,
    objects::{Object, Relations},
    reader::Read,
    statement::Session,
    tokens::Tokens,
    utility::{name, skip_before_name},
};

/// The relation that is altered: as it is named, and as the catalog has it if that is certain.
struct Altered<'a> {
    named: Named,
    relation: Option<&'a Relation>,
}

impl Session<'_> {
    /// The alterations of one ALTER, whose object's name starts at `at`.
    pub(crate) fn alterations(&self, object: &Object, tokens: Tokens<'_>, at: usize, facts: &mut Facts) -> Read<()> {
        match object.name {
            "schema" => self.renamed_schema(tokens, at, facts),
            "type"
                if tokens.find_words(at, "rename attribute").is_some()
                    && tokens.find_words(at, "cascade").is_some() =>
            {
                Err("ALTER TYPE ... RENAME ATTRIBUTE ... CASCADE renames columns of relations that it does not name"
                    .to_owned())
            }
            _ if object.relations == Relations::Itself => self.altered_relation(object.name, tokens, at, facts),
            _ => Ok(()),
        }
    }

    fn altered_relation(&self, object: &str, tokens: Tokens<'_>, at: usize, facts: &mut Facts) -> Read<()> {
        let Ok((named, next)) = name(tokens, skip_before_name(tokens, at)) else { return Ok(()) };
        let (found, certain) = self.names.find(&named);
        let altered = Altered { named, relation: found.filter(|_| certain) };
        let mut start = next + usize::from(tokens.is_symbol(next, "*"));
        while start < tokens.len() {
            let end = end_of_action(tokens, start);
            altered.action(object, tokens.to(end).from(start), facts);
            start = end + 1;
        }
        Ok(())
    }

    /// All that is in a schema which gets another name.
    fn renamed_schema(&self, tokens: Tokens<'_>, at: usize, facts: &mut Facts) -> Read<()> {
        if !tokens.are_words(at + 1, "rename to") {
            return Ok(());
        }
        let schema = tokens.identifier(at).ok_or("a schema's name is missing")?;
        facts.kind("alter schema rename");
        for relation in self.names.catalog.in_schema(&schema) {
            facts.relation(self.names.catalog, relation, Access::DEFINE);
        }
        if !self.names.catalog_holds {
            facts.reaches_unknown();
        }
        Ok(())
    }
}

impl Altered<'_> {
    fn action(&self, object: &str, action: Tokens<'_>, facts: &mut Facts) {
        let first = action.identifier(0).unwrap_or_default();
        match first.as_str() {
            "rename" if action.is_word(1, "constraint") => {}
            "rename" if action.is_word(1, "to") => facts.kind(&format!("alter {object} rename")),
            "rename" => {
                facts.kind(&format!("alter {object} rename column"));
                let column = 1 + usize::from(action.is_word(1, "column") && !action.is_word(2, "to"));
                self.uses(&action.identifier(column).unwrap_or_default(), Usage::WRITE, facts);
            }
            "set" if action.is_word(1, "schema") => facts.kind(&format!("alter {object} set schema")),
            "inherit" | "attach" => facts.kind(&format!("alter {object} {first}")),
            _ => {}
        }
        self.computed(object, action, facts);
    }

    /// The columns that a new value of a column is computed from.
    fn computed(&self, object: &str, action: Tokens<'_>, facts: &mut Facts) {
        let using = action.find_words(1, "using").filter(|_| action.is_word(0, "alter"));
        let generated = action.find_words(1, "as").or_else(|| action.find_words(1, "expression"));
        let Some(start) = using.or(generated) else { return };
        facts.kind(&format!("alter {object} {}", if using.is_some() { "type" } else { "generated" }));
        // A column's own values stay where they are.
        let itself = using.and_then(|_| action.identifier(1 + usize::from(action.is_word(1, "column"))));
        for at in start + 1..action.len() {
            match action.identifier(at) {
                Some(word) if Some(&word) != itself.as_ref() && !action.is_symbol(at + 1, "(") => {
                    self.uses(&word, Usage::OUTPUT, facts);
                }
                _ => {}
            }
        }
    }

    /// Notes the use of what a word may stand for: a column, the whole row, or with an unknown relation anything.
    fn uses(&self, word: &str, usage: Usage, facts: &mut Facts) {
        let Some(relation) = self.relation else {
            facts.reaches_unknown();
            return facts.unplaced_column(word, usage);
        };
        if let Some(column) = relation.column(word) {
            let name = ColumnName { relation: relation.name.clone(), column: column.name.clone() };
            return facts.column(&name, usage);
        }
        if word == self.named.name {
            facts.unplaced_column(word, usage);
        }
    }
}

/// The end of the action that starts here: a comma outside brackets, or the last token.
fn end_of_action(tokens: Tokens<'_>, start: usize) -> usize {
    let mut at = start;
    while at < tokens.len() && !tokens.is_symbol(at, ",") {
        let opens = tokens.kind(at) == Some(Kind::Symbol) && matches!(tokens.raw(at), "(" | "[");
        at = if opens { tokens.after_bracket(at) } else { at + 1 };
    }
    at
}
