//! The session's prepared statements and portals, as far as the server has confirmed them.
//! SQL's PREPARE and DECLARE share their names with the protocol's Parse and Bind, as they do in
//! the server.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU64},
};

use sluicegate_core::{InFlight, ResultSchema};
use sluicegate_sql::Analysis;

use super::rows::{Rows, Tally};
use crate::codec::message::Field;

/// What a description says: the columns, or none where no rows come.
pub type Shape = Option<Arc<[Field]>>;

/// A prepared statement.
#[derive(Debug)]
pub struct Prepared {
    /// Its text. For a statement that SQL's PREPARE made, the EXECUTE that runs it.
    pub text: Arc<str>,
    /// Whether SQL's PREPARE made it.
    pub by_sql: bool,
    /// As of which state of the names it is certain that the server has it under its name.
    pub names: AtomicU64,
    /// The types of its parameters, once described; before that what the client chose.
    pub chosen_types: Vec<u32>,
    /// The types of its parameters as the server described them.
    pub types: OnceLock<Vec<u32>>,
    /// Its columns.
    shape: Mutex<Option<Described>>,
    /// What its text does, as it was read last.
    reading: Mutex<Option<(Reading, Arc<Analysis>)>>,
}

/// A description, and the epoch that it is of: settings or the catalog may have moved names to other
/// relations since.
#[derive(Debug, Clone)]
pub struct Described {
    epoch: u64,
    /// The columns.
    pub shape: Shape,
    /// False where the server described another statement of the same text.
    pub certain: bool,
}

/// By what a text was read: the same text by the same catalog and settings does the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The catalog's generation.
    pub generation: u64,
    /// The version of the settings.
    pub settings: u64,
}

impl Prepared {
    /// A statement that was not described yet.
    pub fn new(text: Arc<str>, chosen_types: Vec<u32>, by_sql: bool, names: u64) -> Self {
        Self {
            text,
            by_sql,
            names: AtomicU64::new(names),
            chosen_types,
            types: OnceLock::new(),
            shape: Mutex::new(None),
            reading: Mutex::new(None),
        }
    }

    /// Its columns, if they were described in this epoch.
    pub fn described_in(&self, epoch: u64) -> Option<Described> {
        locked(&self.shape).clone().filter(|described| described.epoch == epoch)
    }

    /// Keeps its columns as the server described them.
    pub fn keep_shape(&self, epoch: u64, shape: Shape) {
        *locked(&self.shape) = Some(Described { epoch, shape, certain: true });
    }

    /// What its text does, if it was read so before.
    pub fn read_as(&self, reading: Reading) -> Option<Arc<Analysis>> {
        locked(&self.reading).as_ref().filter(|(read, _)| *read == reading).map(|(_, analysis)| Arc::clone(analysis))
    }

    /// Keeps what its text does.
    pub fn keep_reading(&self, reading: Reading, analysis: &Arc<Analysis>) {
        *locked(&self.reading) = Some((reading, Arc::clone(analysis)));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The statements that were parsed last. A client that does not keep its statements parses the same text
/// again and again, and what the server says of its columns is the same each time.
#[derive(Default)]
pub struct Recent(VecDeque<Arc<Prepared>>);

impl Recent {
    const MAX: usize = 16;
    const MAX_BYTES: usize = 4096;

    /// A new statement: what is known of one of the same text counts for it too, until the server has
    /// described it.
    pub fn parsed(&mut self, prepared: Prepared) -> Arc<Prepared> {
        let prepared = Arc::new(prepared);
        if prepared.text.len() > Self::MAX_BYTES {
            return prepared;
        }
        let same = |old: &Arc<Prepared>| old.text == prepared.text && old.chosen_types == prepared.chosen_types;
        if let Some(old) = self.0.iter().position(same).and_then(|at| self.0.remove(at)) {
            *locked(&prepared.shape) = locked(&old.shape).clone().map(|known| Described { certain: false, ..known });
        }
        self.0.truncate(Self::MAX - 1);
        self.0.push_front(Arc::clone(&prepared));
        prepared
    }

    /// One of this text.
    pub fn find(&self, text: &[u8]) -> Option<Arc<Prepared>> {
        self.0.iter().find(|known| known.text.as_bytes() == text).cloned()
    }
}

/// The columns of a result and what was decided on.
pub struct Decided {
    /// As the server described them.
    pub fields: Arc<[Field]>,
    /// As the policies saw them.
    pub schema: Arc<ResultSchema>,
    /// The columns that the client sees by an exception.
    pub spared: Vec<bool>,
    /// The catalog's generation at that moment.
    pub generation: u64,
}

/// A text, and what it does by the catalog of one generation.
pub struct Analysed {
    /// The text.
    pub text: Arc<str>,
    /// What it does.
    pub analysis: Arc<Analysis>,
    /// The catalog's generation.
    pub generation: u64,
}

/// A portal that Bind made.
pub struct Portal {
    /// Its name; empty for the unnamed one.
    pub name: String,
    /// What it runs.
    pub analysis: Arc<Analysis>,
    /// The statement that it binds.
    pub prepared: Arc<Prepared>,
    /// Format codes of its columns, as Bind gave them.
    pub formats: Vec<u16>,
    /// Its columns, once described.
    pub shape: Option<Shape>,
    /// The permit's other half; none while an Execute runs and after the last one.
    pub flight: Option<InFlight>,
    /// What happens to its rows; none until its columns were decided.
    pub rows: Option<Rows>,
    /// What was decided on; none until then, and for COPY.
    pub decided: Option<Decided>,
    /// The catalog's generation in which it was analysed.
    pub generation: u64,
    /// The settings with which people approved it; none where nobody had to.
    pub approved_in: Option<Arc<str>>,
    /// What has reached the client of it.
    pub tally: Tally,
}

impl Portal {
    /// The command that it runs, if its end is not recorded yet, and what reached the client.
    pub fn into_flight(self) -> Option<(InFlight, Tally)> {
        self.flight.map(|flight| (flight, self.tally))
    }
}

/// What the server has confirmed.
#[derive(Default)]
pub struct Objects {
    statements: HashMap<String, Arc<Prepared>>,
    /// For the analyser: what each named statement does.
    pub prepared: HashMap<String, Arc<Analysis>>,
    portals: HashMap<String, Portal>,
    /// For the analyser: what each named cursor or portal reads.
    pub cursors: HashMap<String, Arc<Analysis>>,
    /// Counts what was given a name.
    definitions: u64,
}

impl Objects {
    /// The statement of that name.
    pub fn statement(&self, name: &str) -> Option<&Arc<Prepared>> {
        self.statements.get(name)
    }

    /// How many statements and portals there are.
    pub fn count(&self) -> usize {
        self.statements.len() + self.portals.len() + self.cursors.len()
    }

    /// How many bytes the texts of statements and portals have.
    pub fn bytes(&self) -> usize {
        let statements = self.statements.values().map(|prepared| prepared.text.len());
        let portals = self.portals.values().map(|portal| portal.prepared.text.len());
        statements.chain(portals).sum()
    }

    /// Keeps a statement that Parse made.
    pub fn parsed(&mut self, name: String, prepared: Arc<Prepared>, analysis: Arc<Analysis>) {
        if !name.is_empty() {
            self.definitions += 1;
            self.prepared.insert(name.clone(), analysis);
        }
        self.statements.insert(name, prepared);
    }

    /// Keeps a statement that PREPARE made.
    pub fn prepared_by_sql(&mut self, name: String, body: Arc<Analysis>, names: u64) {
        self.definitions += 1;
        self.prepared.insert(name.clone(), body);
        let text = format!("EXECUTE \"{}\"", name.replace('"', "\"\""));
        self.statements.insert(name, Arc::new(Prepared::new(text.into(), Vec::new(), true, names)));
    }

    /// Forgets a statement, or all named ones. The unnamed one outlives DEALLOCATE ALL.
    pub fn deallocate(&mut self, name: Option<&str>) {
        match name {
            Some(name) => {
                self.statements.remove(name);
                self.prepared.remove(name);
            }
            None => {
                self.statements.retain(|name, _| name.is_empty());
                self.prepared.clear();
            }
        }
    }

    /// How often something was given a name. Names stand for the same as long as it is the same.
    pub fn definitions(&self) -> u64 {
        self.definitions
    }

    /// Whether there are portals that people approved.
    pub fn has_approved(&self) -> bool {
        self.portals.values().any(|portal| portal.approved_in.is_some())
    }

    /// Whether Bind has made portals that still are there.
    pub fn has_portals(&self) -> bool {
        !self.portals.is_empty()
    }

    /// Keeps a portal; returns the one it replaces.
    pub fn bound(&mut self, portal: Portal) -> Option<Portal> {
        if !portal.name.is_empty() {
            self.definitions += 1;
            self.cursors.insert(portal.name.clone(), Arc::clone(&portal.analysis));
        }
        self.portals.insert(portal.name.clone(), portal)
    }

    /// Keeps a cursor that DECLARE made.
    pub fn declared(&mut self, name: String, body: Arc<Analysis>) {
        self.definitions += 1;
        self.cursors.insert(name, body);
    }

    /// The portal of that name.
    pub fn portal(&mut self, name: &str) -> Option<&mut Portal> {
        self.portals.get_mut(name)
    }

    /// Code that nobody looked into may have dropped names and made them again. What SQL made is
    /// forgotten; what Parse made is made again before it is bound.
    pub fn names_may_have_changed(&mut self) {
        self.prepared.clear();
        self.cursors.retain(|name, _| self.portals.contains_key(name));
        self.statements.retain(|_, prepared| !prepared.by_sql);
    }

    /// Whether a cursor of that name was declared by SQL.
    pub fn is_cursor(&self, name: &str) -> bool {
        self.cursors.contains_key(name) && !self.portals.contains_key(name)
    }

    /// Forgets a portal or cursor, or all; returns the portals.
    pub fn close(&mut self, name: Option<&str>) -> Vec<Portal> {
        match name {
            Some(name) => {
                self.cursors.remove(name);
                self.portals.remove(name).into_iter().collect()
            }
            None => {
                self.cursors.clear();
                self.portals.drain().map(|(_, portal)| portal).collect()
            }
        }
    }

    /// The transaction ended: portals died with it. Cursors are kept, for some may be WITH HOLD, and
    /// the server refuses the others itself.
    pub fn transaction_ended(&mut self) -> Vec<Portal> {
        for name in self.portals.keys() {
            self.cursors.remove(name);
        }
        self.portals.drain().map(|(_, portal)| portal).collect()
    }
}
