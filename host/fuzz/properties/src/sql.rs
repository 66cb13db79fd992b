//! The facts about SQL texts, and what finding them costs.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use sluicegate_core::sql::Classes;
use sluicegate_sql::{Analyser, Analysis, Catalog, Context, Limits};

use crate::{
    common::{catalog, server_catalog},
    input::Input,
};

/// What a text of the fuzzer's, which has a few KiB, may take of a processor; sanitizers included.
const ALLOWANCE: Duration = Duration::from_millis(500);

/// What any text may take, if it is not in proportion: the analyser's budget, with sanitizers.
const BUDGET: Duration = Duration::from_secs(3);

/// How large a text is made of the fuzzer's pieces, in bytes.
const LARGE: usize = 64 * 1024;

/// How much longer a text of four times the size may take. Four is in proportion, sixteen is its square.
const GROWTH: u32 = 8;

static SMALL: LazyLock<Catalog> = LazyLock::new(catalog);
static SERVER: LazyLock<Catalog> = LazyLock::new(server_catalog);
static CACHED: LazyLock<Analyser> = LazyLock::new(|| analyser(1000));

/// A text that cannot be read is marked so; the normalised text means what the text means and reads
/// as itself; and what was kept from texts before, with other literals, is what is read anew.
pub fn facts(data: &[u8]) {
    let mut input = Input::new(data);
    let bits = input.byte();
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    let world = World::new(bits);
    let fresh = analyser(0);
    let started = processor_time();
    let analysis = world.read(&fresh, text);
    let took = processor_time() - started;
    assert!(took < ALLOWANCE, "{} bytes took {took:?}", text.len());

    let facts = &analysis.facts;
    assert_eq!(facts.unanalysable.is_some(), facts.classes.contains(Classes::UNANALYSABLE));
    assert!(facts.unanalysable.is_none() || facts.reaches_unknown);
    assert!(facts.kinds.iter().collect::<std::collections::HashSet<_>>().len() == facts.kinds.len());
    assert_eq!(facts.statements as usize, analysis.statements.len());
    let normalized = world.read(&fresh, &analysis.normalized);
    assert_eq!(normalized.normalized, analysis.normalized);
    for analyser in [&fresh, &*CACHED, &*CACHED] {
        let again = world.read(analyser, text);
        assert_eq!((&again.facts, &again.normalized), (&analysis.facts, &analysis.normalized));
        assert_eq!(again.statements, analysis.statements);
    }
}

/// However a piece of text is repeated, reading it takes time in proportion, or little.
pub fn growth(data: &[u8]) {
    let mut input = Input::new(data);
    let bits = input.byte();
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    // A start, what is repeated, a middle, what is repeated behind it, and an end.
    let mut parts = text.splitn(5, '~');
    let [start, open, middle, close, end] = [(); 5].map(|()| parts.next().unwrap_or_default());
    let unit = open.len() + close.len();
    if unit == 0 {
        return;
    }
    let world = World::new(bits);
    let fresh = analyser(0);
    let time = |size: usize| {
        let times = size / unit;
        let text = format!("{start}{}{middle}{}{end}", open.repeat(times), close.repeat(times));
        let started = processor_time();
        world.read(&fresh, &text);
        processor_time() - started
    };
    let large = time(LARGE);
    if large > BUDGET {
        let small = time(LARGE / 4);
        assert!(large < small * GROWTH, "{small:?} for a quarter, {large:?} for the whole");
    }
}

fn analyser(cache: usize) -> Analyser {
    Analyser::new(Limits::default(), cache)
}

/// The state of the session that a text is read in.
struct World {
    catalog: &'static Catalog,
    search_path: Vec<String>,
    conforming: bool,
}

impl World {
    fn new(bits: u8) -> Self {
        let path: &[&str] = if bits & 1 == 0 { &["public"] } else { &["other", "public", "pg_temp_3"] };
        Self {
            catalog: if bits & 2 == 0 { &SMALL } else { &SERVER },
            search_path: path.iter().map(|schema| (*schema).to_owned()).collect(),
            conforming: bits & 4 == 0,
        }
    }

    fn read(&self, analyser: &Analyser, text: &str) -> Arc<Analysis> {
        let none = HashMap::new();
        let context = Context {
            catalog: self.catalog,
            search_path: &self.search_path,
            standard_conforming_strings: self.conforming,
            prepared: &none,
            cursors: &none,
        };
        analyser.analyse(text, &context)
    }
}

/// What this thread has taken of a processor. Other than the time of day, it is the same on a busy machine.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("less than a second"))
}
