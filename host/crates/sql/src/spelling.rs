//! PostgreSQL's syntax that sqlparser does not know, said in words that it knows. Only what holds no column
//! and calls no function is left out, and only after words that PostgreSQL reserves or in a place
//! where nothing else can stand.

use sqlparser::tokenizer::Token as Parsed;

use crate::{
    lex::Kind,
    tokens::{Tokens, symbol},
};

impl Tokens<'_> {
    /// What stands for the tokens from this index on, and how many of them; 0 where they need no other
    /// spelling.
    pub(crate) fn respelled(self, index: usize) -> (Option<Parsed>, usize) {
        if self.kind(index) != Some(Kind::Word) {
            return (None, 0);
        }
        if self.is_own_operator(index) {
            return (Some(symbol(self.raw(index + 4))), 6);
        }
        if self.is_current_of(index) {
            // The row that a cursor stands on: a condition without columns.
            return (Some(Parsed::make_word("true", None)), 3);
        }
        if let Some(end) = self.conflict_target(index) {
            return (Some(Parsed::make_word("conflict", None)), end - index);
        }
        (None, self.superfluous(index))
    }

    /// How many words stand here that change neither what is read nor what is called.
    fn superfluous(self, index: usize) -> usize {
        let after = |word: &str| index.checked_sub(1).is_some_and(|previous| self.is_word(previous, word));
        if self.is_only(index) || self.is_word(index, "variadic") {
            return 1;
        }
        if after("between") && (self.is_word(index, "symmetric") || self.is_word(index, "asymmetric")) {
            return 1;
        }
        if after("for") && self.are_words(index, "no key update") {
            return 2;
        }
        if after("for") && self.are_words(index, "key share") {
            return 1;
        }
        let overriding = ["overriding system value", "overriding user value"];
        if overriding.iter().any(|words| self.are_words(index, words)) { 3 } else { 0 }
    }

    /// Whether the word here is the ONLY before a table's name. What it leaves out, the table's children,
    /// is then counted as read.
    fn is_only(self, index: usize) -> bool {
        let before = ["from", "join", "update", "into", "using"];
        self.is_word(index, "only")
            && index.checked_sub(1).is_some_and(|previous| {
                self.is_symbol(previous, ",") || before.iter().any(|word| self.is_word(previous, word))
            })
            && matches!(self.kind(index + 1), Some(Kind::Word | Kind::Quoted))
    }

    /// Whether `OPERATOR(pg_catalog.=)` stands here, which is the server's own `=`. What it takes as its
    /// operands may differ; which columns are in the expression does not.
    fn is_own_operator(self, index: usize) -> bool {
        self.is_word(index, "operator")
            && self.is_symbol(index + 1, "(")
            && self.identifier(index + 2).as_deref() == Some("pg_catalog")
            && self.is_symbol(index + 3, ".")
            && self.kind(index + 4) == Some(Kind::Operator)
            && self.is_symbol(index + 5, ")")
    }

    fn is_current_of(self, index: usize) -> bool {
        self.are_words(index, "current of")
            && index.checked_sub(1).is_some_and(|previous| self.is_word(previous, "where"))
            && self.identifier(index + 2).is_some()
            && (index + 3 == self.len() || self.is_word(index + 3, "returning"))
    }

    /// The end of the target of ON CONFLICT, `(columns or expressions) [WHERE condition]`, if its second
    /// word stands here. It chooses an index by comparing expressions, none of which is run. A join's
    /// condition may look like it, but no DO follows that before another ON.
    fn conflict_target(self, index: usize) -> Option<usize> {
        if !self.are_words(index.checked_sub(1)?, "on conflict") || !self.is_symbol(index + 1, "(") {
            return None;
        }
        let mut end = self.after_bracket(index + 1);
        if self.is_word(end, "where") {
            let action = self.find_words(end, "do")?;
            let another = self.find_words(end, "on").is_some_and(|on| on < action);
            end = if another { return None } else { action };
        }
        let acts = self.are_words(end, "do nothing") || self.are_words(end, "do update");
        acts.then_some(end)
    }
}
