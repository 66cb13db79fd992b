//! What reading one text may cost beyond its length: a few words can stand for much, as `*` does for
//! every column of every item, and EXECUTE for a whole statement.

use std::cell::Cell;

use crate::reader::Read;

/// The most steps for one text, all bodies that it runs included. A step takes some 30 ns.
const MAX_STEPS: usize = 10_000_000;

/// How many names are compared in one step.
const NAMES_PER_STEP: usize = 8;

/// What a column costs that is found or listed. It is kept, so this bounds memory too.
const STEPS_PER_COLUMN: usize = 10;

/// What reading a token again costs.
const STEPS_PER_TOKEN: usize = 20;

/// What is left for one text.
#[derive(Debug)]
pub struct Budget {
    left: Cell<usize>,
}

impl Budget {
    /// That of a text which has not been read yet.
    pub fn new() -> Self {
        Self { left: Cell::new(MAX_STEPS) }
    }

    /// Takes steps; an error once there are too few left.
    pub fn spend(&self, steps: usize) -> Read<()> {
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err("reading it takes more steps than a text may take".to_owned())
            }
        }
    }

    /// Looks for a name among so many.
    pub fn compare(&self, names: usize) -> Read<()> {
        self.spend(1 + names / NAMES_PER_STEP)
    }

    /// Lists so many columns.
    pub fn list(&self, columns: usize) -> Read<()> {
        self.spend(columns.saturating_mul(STEPS_PER_COLUMN))
    }

    /// Reads so many tokens that were read before.
    pub fn read_again(&self, tokens: usize) -> Read<()> {
        self.spend(tokens.saturating_mul(STEPS_PER_TOKEN))
    }
}
