//! What was measured: for people, for programs, and for the documentation.

mod chart;
mod json;
mod machine;
mod page;
mod table;

use std::fmt::Write;

use crate::{
    Options,
    memory::Memory,
    rounds::{Measured, median},
    workloads::{Goal, Workload},
};

pub use machine::Machine;

/// Everything that one call measured, and under which circumstances.
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// How many rounds there were.
    pub rounds: u32,
    /// How many seconds each run took.
    pub seconds: u32,
    /// What was measured in rounds.
    pub results: Vec<(Workload, Measured)>,
    /// What was measured once.
    pub memory: Option<Memory>,
}

/// What became of a goal.
pub struct Reached<'a> {
    /// The goal.
    pub goal: &'a Goal,
    /// The ratio of each round.
    pub ratios: Vec<f64>,
}

impl Report {
    /// Prints it as the options say, and writes it into the documentation if they say so.
    pub fn give(&self, options: &Options) {
        if options.json() {
            println!("{:#}", json::of(self));
        } else {
            print!("{}", self.text());
        }
        if options.write {
            page::write(&self.text(), &chart::of(self));
        }
    }

    /// Tables, as Markdown has them and people can read them.
    fn text(&self) -> String {
        let mut text = format!("{}\n{} rounds of {} seconds a run.\n", self.machine, self.rounds, self.seconds);
        let memory = self.memory.as_ref().map(table::memory);
        for table in
            [table::speeds(self), table::goals(self)].into_iter().chain(memory).filter(|table| !table.is_empty())
        {
            write!(text, "\n{table}").expect("a string takes everything");
        }
        text
    }
}

impl Workload {
    /// What became of its goals.
    pub fn reached<'a>(&'a self, measured: &'a Measured) -> impl Iterator<Item = Reached<'a>> {
        let index = |who| self.entries.iter().position(|entry| entry.who == who).expect("goals name entries");
        self.goals
            .iter()
            .map(move |goal| Reached { goal, ratios: measured.ratios(index(goal.who), index(goal.beside)) })
    }
}

impl Reached<'_> {
    /// The median of all rounds.
    pub fn median(&self) -> f64 {
        median(&self.ratios)
    }

    /// The rounds with the least and with the most.
    pub fn range(&self) -> (f64, f64) {
        let first = (f64::INFINITY, f64::NEG_INFINITY);
        self.ratios.iter().fold(first, |(least, most), &ratio| (least.min(ratio), most.max(ratio)))
    }

    /// Whether the median is at least what is wanted.
    pub fn is_met(&self) -> bool {
        self.median() >= self.goal.at_least
    }
}
