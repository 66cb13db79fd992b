//! Reads a parsed statement. What its parts share stands here; queries are read in `query`, FROM in
//! `from`, expressions in `expression` and writes in `write`.
//!
//! Every part of sqlparser's tree is either read or refused: its parser knows many dialects, and what
//! PostgreSQL does not have cannot be judged.

use std::ops::ControlFlow;

use sluicegate_core::sql::Usage;
use sqlparser::{
    ast::{Expr, Query, Statement as Tree, TableFactor, Visit, Visitor},
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use crate::{analysis::Limits, facts::Facts, names::Names};

/// A result, or why the statement cannot be analysed.
pub type Read<T> = Result<T, String>;

/// Stack that must be left before a level of recursion, and what is added when it is not.
const STACK_LEFT: usize = 128 * 1024;
const STACK_ADDED: usize = 2 * 1024 * 1024;

/// Stack that dropping a tree may need for each of its tokens.
const DROP_STACK_PER_TOKEN: usize = 512;

/// The most joins that one statement may have: where they are nested without parentheses, the parser goes one
/// level deeper for each, and its own limit does not count these.
const MAX_JOINS: usize = 1000;
/// Stack that the parser may need for each of them.
const STACK_PER_JOIN: usize = 32 * 1024;

/// Levels of sqlparser's recursion for one level of nesting in the text.
const PARSER_LEVELS: usize = 6;

/// Reads one statement.
#[derive(Debug)]
pub struct Reader<'a, 'f> {
    /// How names are looked up.
    pub names: Names<'a>,
    /// Where the facts go.
    pub facts: &'f mut Facts,
    /// Whether something in it may change the session's settings.
    pub settings_may_change: bool,
    /// Whether code runs in it that cannot be looked into.
    pub unknown_code: bool,
    /// Whether it changes the catalog.
    pub catalog_changed: bool,
    /// What has been read, against what there is.
    pub(crate) seen: Census,
}

/// How many parts of each sort a tree has. Names are only known in full if every part was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub queries: usize,
    pub functions: usize,
    pub items: usize,
}

impl<'a, 'f> Reader<'a, 'f> {
    /// A reader that adds to these facts.
    pub fn new(names: Names<'a>, facts: &'f mut Facts) -> Self {
        Self {
            names,
            facts,
            settings_may_change: false,
            unknown_code: false,
            catalog_changed: false,
            seen: Census::default(),
        }
    }

    /// Parses the tokens as one statement and gives its tree to `read`. The tree's depth is bounded by the
    /// tokens' number only, so all of it happens on a stack that is large enough.
    pub fn with_tree<T>(
        &mut self,
        tokens: Vec<Token>,
        limits: &Limits,
        read: impl FnOnce(&mut Self, &Tree) -> Read<T>,
    ) -> Read<T> {
        let joins = tokens.iter().filter(|token| is_join(token)).count();
        if joins > MAX_JOINS {
            return Err(format!("it has more than {MAX_JOINS} joins"));
        }
        let stack = STACK_LEFT + tokens.len() * DROP_STACK_PER_TOKEN + joins * STACK_PER_JOIN;
        stacker::maybe_grow(stack, stack * 2, || {
            let tree = parse(tokens, limits)?;
            let value = read(self, &tree)?;
            let mut all = Census::default();
            let _ = tree.visit(&mut all);
            if all == self.seen { Ok(value) } else { Err("not every part of it could be read".to_owned()) }
        })
    }

    /// Runs one level of recursion.
    pub(crate) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        stacker::maybe_grow(STACK_LEFT, STACK_ADDED, || read(self))
    }

    /// Notes a name that stands for no column in sight: a whole row, `row.function`, or what only the
    /// server knows.
    pub(crate) fn unplaced(&mut self, name: &str, usage: Usage) {
        self.facts.unplaced_column(name, usage);
        if !self.names.is_plain_name(name) {
            self.runs_unknown_code();
        }
    }

    /// Notes that code runs which cannot be looked into.
    pub(crate) fn runs_unknown_code(&mut self) {
        self.facts.reaches_unknown();
        self.unknown_code = true;
    }
}

impl Visitor for Census {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.items += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        self.functions += usize::from(matches!(expression, Expr::Function(_)));
        ControlFlow::Continue(())
    }
}

/// The refusal of syntax that PostgreSQL does not have or that is not read here.
pub(crate) fn foreign<T>(what: &str) -> Read<T> {
    Err(format!("{what} cannot be analysed"))
}

fn is_join(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.keyword == Keyword::JOIN)
}

fn parse(tokens: Vec<Token>, limits: &Limits) -> Read<Tree> {
    let dialect = PostgreSqlDialect {};
    let levels = limits.max_depth.saturating_mul(PARSER_LEVELS);
    let mut parser = Parser::new(&dialect).with_recursion_limit(levels).with_tokens(tokens);
    let tree = parser.parse_statement().map_err(|error| reason(&error))?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok(tree),
        other => Err(format!("it does not parse: `{other}` is not expected after a statement")),
    }
}

/// The parser's words: they name a token, of which literals have been taken away.
fn reason(error: &ParserError) -> String {
    match error {
        ParserError::RecursionLimitExceeded => "it nests too deep".to_owned(),
        ParserError::TokenizerError(what) | ParserError::ParserError(what) => format!("it does not parse: {what}"),
    }
}
