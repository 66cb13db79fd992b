//! How texts are read: by the target's catalog, as far as it is still what the server uses.

use std::sync::{Arc, atomic::Ordering};

use sluicegate_core::{
    Denial,
    sql::{Classes, SqlFacts},
};
use sluicegate_sql::{Analysis, Catalog};

use super::{
    Machine, Shared, commands,
    objects::{Prepared, Reading},
};

/// One of [`Shared::uncommitted`].
pub(super) struct Pending(Arc<Shared>);

impl Pending {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.uncommitted.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.uncommitted.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Machine {
    /// The target's catalog. A session that no policy governs needs none.
    pub(super) async fn catalog(&mut self) -> Result<Arc<Catalog>, Denial> {
        if !self.gate.is_governed() {
            return Ok(Arc::new(Catalog::empty()));
        }
        if self.shared.uncommitted.load(Ordering::SeqCst) > 0 {
            self.shared.catalogs.invalidate();
        }
        let known = self.shared.catalogs.known().await.map_err(|error| {
            tracing::error!(error = %sluicegate_core::Chain(&error), "the target's catalog cannot be read");
            Denial::gate("the target's catalog cannot be read, so statements cannot be analysed; try again later")
        })?;
        if known.catalog.generation() != self.generation {
            // Names may mean other relations now.
            self.generation = known.catalog.generation();
            self.epoch += 1;
        }
        let catalog = Arc::clone(&known.catalog);
        self.known = Some(known);
        Ok(catalog)
    }

    pub(super) fn read(&self, text: &str, catalog: &Catalog) -> Arc<Analysis> {
        let context = self.settings.context(catalog, &self.objects.prepared, &self.objects.cursors);
        let analysis = self.shared.analyser.analyse(text, &context);
        if self.catalog_pending.is_some() { distrust(&analysis, self.new_code) } else { analysis }
    }

    /// By what texts are read now; none where nothing may be concluded from the catalog.
    pub(super) fn reading(&self) -> Option<Reading> {
        let reading = Reading { generation: self.generation, settings: self.settings.version };
        self.catalog_pending.is_none().then_some(reading)
    }

    /// Keeps what the text of a prepared statement does. What it does may depend on names that it uses.
    pub(super) fn keep_reading(&self, prepared: &Prepared, analysis: &Arc<Analysis>) {
        if let Some(reading) = self.reading().filter(|_| !analysis.uses_names) {
            prepared.keep_reading(reading, analysis);
        }
    }

    /// A text is about to run: settings may be others afterwards, and the catalog may be another afterwards.
    pub(super) fn runs(&mut self, analysis: &Analysis) {
        self.settings.surroundings.runs(analysis);
        self.unseen |= may_leave_something(&analysis.facts);
        if self.catalog_pending.is_none() && commands::changes_catalog(analysis) {
            self.catalog_pending = Some(Pending::new(&self.shared));
        }
        self.new_code |= commands::makes_code(analysis);
    }

    pub(super) async fn analyse(&mut self, text: &str) -> Result<Arc<Analysis>, Denial> {
        let catalog = self.catalog().await?;
        Ok(self.read(text, &catalog))
    }
}

/// Whether what ran may leave something behind in the server's process that DISCARD ALL does not take away:
/// only code can, such as variables of a procedural language, connections of dblink, or a library.
fn may_leave_something(facts: &SqlFacts) -> bool {
    /// The server's own functions that do.
    const LASTING: [&str; 2] = ["pg_replication_origin_session_setup", "setseed"];
    facts.classes.intersects(Classes::OPAQUE | Classes::UNANALYSABLE)
        || facts.functions.iter().any(|function| !function.builtin || LASTING.contains(&&*function.name))
}

/// While this session has changed the catalog and not yet committed, the catalog that the gateway
/// reads is not the one that the server uses: nothing may be concluded from it.
///
/// Where it has made functions, operators or casts, not even what reads nothing is harmless: any name or
/// sign may stand for them (`new_code`).
fn distrust(analysis: &Analysis, new_code: bool) -> Arc<Analysis> {
    let mut analysis = analysis.clone();
    let mut facts = (*analysis.facts).clone();
    // What only steers the transaction reaches nothing.
    facts.reaches_unknown |= facts.statements > 0 && facts.classes != Classes::TRANSACTION;
    analysis.facts = Arc::new(facts);
    for statement in &mut analysis.statements {
        if let sluicegate_sql::Outputs::Aligned(outputs) = &mut statement.outputs {
            for output in outputs.iter_mut().filter(|output| new_code || !output.sources.is_empty()) {
                output.resolution = sluicegate_core::Resolution::Unresolved;
            }
        }
        if let Some(copy) = &mut statement.copy {
            copy.columns = None;
        }
    }
    Arc::new(analysis)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use sluicegate_sql::{Analyser, Context, Limits};

    use super::*;

    #[test]
    fn what_only_steers_the_transaction_is_not_distrusted() {
        let nothing = HashMap::new();
        let context = Context {
            catalog: &Catalog::empty(),
            search_path: &[],
            standard_conforming_strings: true,
            prepared: &nothing,
            cursors: &nothing,
        };
        let analyser = Analyser::new(Limits::default(), 10);
        for (text, reaches) in
            [("commit", false), ("rollback to a", false), ("select 1", true), ("commit; select 1", true)]
        {
            let distrusted = distrust(&analyser.analyse(text, &context), true);
            assert_eq!(distrusted.facts.reaches_unknown, reaches, "{text}");
        }
    }
}
