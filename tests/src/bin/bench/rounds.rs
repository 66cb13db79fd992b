//! Runs everything in rounds: within a round each workload is measured of everybody in turn, and who
//! begins changes from round to round.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use crate::{stage::Stage, workloads::Workload};

/// What one workload's entries reached, in their order.
pub struct Measured {
    /// Units per second by entry and round.
    pub speeds: Vec<Vec<f64>>,
}

/// Measures workloads; what comes back is in their order.
pub fn run(stage: &Stage, workloads: &[Workload], rounds: u32, length: Duration) -> Vec<Measured> {
    let unmeasured = |workload: &Workload| Measured { speeds: vec![Vec::new(); workload.entries.len()] };
    let mut results: Vec<_> = workloads.iter().map(unmeasured).collect();
    for round in 0..rounds as usize {
        for (workload, measured) in workloads.iter().zip(&mut results) {
            let count = workload.entries.len();
            for turn in 0..count {
                let index = (turn + round) % count;
                let entry = &workload.entries[index];
                progress(&format!("round {} of {rounds}: {}, {}", round + 1, workload.title, entry.who));
                measured.speeds[index].push(workload.run(entry, stage, length));
            }
        }
    }
    progress("");
    results
}

impl Measured {
    /// The median speed of an entry.
    pub fn speed(&self, index: usize) -> f64 {
        median(&self.speeds[index])
    }

    /// One entry's speed as a part of another's, in each round.
    pub fn ratios(&self, index: usize, beside: usize) -> Vec<f64> {
        self.speeds[index].iter().zip(&self.speeds[beside]).map(|(ours, theirs)| ours / theirs).collect()
    }
}

/// The middle of what was measured.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Says at a terminal what is being done; elsewhere nothing.
pub fn progress(what: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // To the start of the line, and the line is emptied.
        let _ = write!(terminal, "\r\x1b[K{what}").and_then(|()| terminal.flush());
    }
}
