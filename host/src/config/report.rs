//! What is wrong with a configuration, shown the way compilers show it: the sentence, the place, the
//! line, and what to do. A value that may be a secret is never shown.

use std::{
    fmt::Write as _,
    ops::Range,
    path::{Path, PathBuf},
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::serve::PROTOCOLS;

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const BLUE: Style = AnsiColor::Blue.on_default().bold();
const BOLD: Style = Style::new().bold();

/// The most bytes of a line that are shown.
const MAX_LINE: usize = 160;

/// Beside the protocols' own, the keys whose values are not shown.
const SECRET_KEYS: &[&str] = &["secret_hash", "secret", "token"];
/// The keys of URLs. These may hold a password, whatever is written there.
const URL_KEYS: &[&str] = &["otlp_endpoint", "url"];

/// How grave a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but hardly as it was meant.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong, without a full stop.
    pub message: String,
    /// The bytes of the file that it is about.
    pub span: Option<Range<usize>>,
    /// What to do.
    pub help: Option<String>,
    conceal: bool,
}

impl Problem {
    /// The configuration cannot be used.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), span: None, help: None, conceal: false }
    }

    /// It can be used, but hardly as it was meant.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Says where.
    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Hides every value on the line, because a misspelt key may be a secret's.
    pub fn conceal(mut self) -> Self {
        self.conceal = true;
        self
    }
}

/// A configuration file and everything found wrong with it.
#[derive(Debug, Clone)]
pub struct Report {
    path: PathBuf,
    source: String,
    problems: Vec<Problem>,
}

/// A problem as `sluicegate check --output json` prints it. Lines and columns count from 1.
#[derive(Debug, Serialize)]
pub struct Finding<'a> {
    severity: Severity,
    file: &'a Path,
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
    help: Option<&'a str>,
}

impl Report {
    /// A report on a file, with nothing found yet.
    pub fn new(path: &Path, source: String) -> Self {
        Self { path: path.to_owned(), source, problems: Vec::new() }
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|p| p.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.problems.len() - self.errors()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The line, from 1, on which a byte stands.
    pub fn line_of(&self, offset: usize) -> usize {
        self.place(offset).0
    }

    /// The problems in the file's order, for machines.
    pub fn findings(&self) -> Vec<Finding<'_>> {
        self.in_order().into_iter().map(|problem| self.finding(problem)).collect()
    }

    /// The problems in the file's order, for people. Holds ANSI styles: print it with `anstream`.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for problem in self.in_order() {
            let _infallible = self.render_one(&mut out, problem);
        }
        out
    }

    /// The same without styles, for the log.
    pub fn plain(&self) -> String {
        anstream::adapter::strip_str(self.render().trim_end()).to_string()
    }

    fn finding<'a>(&'a self, problem: &'a Problem) -> Finding<'a> {
        let Problem { severity, message, span, help, .. } = problem;
        let (line, column) = span.as_ref().map(|s| self.place(s.start)).unzip();
        Finding { severity: *severity, file: &self.path, line, column, message, help: help.as_deref() }
    }

    fn in_order(&self) -> Vec<&Problem> {
        let mut problems: Vec<&Problem> = self.problems.iter().collect();
        problems.sort_by_key(|p| p.span.as_ref().map_or(usize::MAX, |s| s.start));
        problems
    }

    fn render_one(&self, out: &mut String, problem: &Problem) -> std::fmt::Result {
        let (word, style) = match problem.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        writeln!(out, "{style}{word}{style:#}{BOLD}: {}{BOLD:#}", problem.message)?;
        let Some(span) = &problem.span else {
            writeln!(out, " {BLUE}-->{BLUE:#} {}", self.path.display())?;
            if let Some(help) = &problem.help {
                writeln!(out, "  {BLUE}={BLUE:#} {BOLD}help{BOLD:#}: {help}")?;
            }
            return writeln!(out);
        };
        let (line, column) = self.place(span.start);
        let pad = " ".repeat(line.to_string().len());
        let line_start = self.source.get(..span.start).and_then(|s| s.rfind('\n')).map_or(0, |at| at + 1);
        let source_line = self.source.lines().nth(line - 1).unwrap_or_default();
        let text = shown(source_line, problem.conceal.then_some(span.start - line_start));
        let width = text.chars().count();
        let indent = (column - 1).min(width);
        let length = self.source.get(span.clone()).map_or(1, |s| s.lines().next().unwrap_or_default().chars().count());
        let carets = "^".repeat(length.min(width - indent).max(1));
        writeln!(out, "{pad}{BLUE}-->{BLUE:#} {}:{line}:{column}", self.path.display())?;
        writeln!(out, "{pad} {BLUE}|{BLUE:#}")?;
        writeln!(out, "{BLUE}{line} |{BLUE:#} {text}")?;
        writeln!(out, "{pad} {BLUE}|{BLUE:#} {}{style}{carets}{style:#}", " ".repeat(indent))?;
        if let Some(help) = &problem.help {
            writeln!(out, "{pad} {BLUE}={BLUE:#} {BOLD}help{BOLD:#}: {help}")?;
        }
        writeln!(out)
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.source.get(..offset).unwrap_or(&self.source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }
}

/// A line as it may be shown. What is assigned to a secret's key is left out unless it only says where
/// the secret is; so is what is assigned to a URL's, and where the problem conceals, after byte `from`.
fn shown(line: &str, conceal_from: Option<usize>) -> String {
    let assigned = |key_at: usize| line.get(key_at..)?.find('=').map(|at| key_at + at + 1);
    let is_literal = |at: &usize| !line.get(*at..).unwrap_or_default().trim_start().starts_with('{');
    let of_protocols = PROTOCOLS.iter().flat_map(|protocol| protocol.secret_keys.iter().chain(protocol.lease_keys));
    let keys = of_protocols.chain(SECRET_KEYS);
    let secret = keys.filter_map(|key| line.find(key)).filter_map(assigned).filter(is_literal);
    let url = URL_KEYS.iter().filter_map(|key| line.find(key)).filter_map(assigned);
    let cut = conceal_from.and_then(assigned).into_iter().chain(secret).chain(url).min();
    let (kept, tail) = match cut {
        Some(at) => (line.get(..at).unwrap_or_default(), " ..."),
        None => (line, ""),
    };
    let long = kept.chars().nth(MAX_LINE).is_some();
    let kept: String = kept.chars().take(MAX_LINE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    kept + if long { " ..." } else { tail }
}
