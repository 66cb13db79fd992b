//! Replays the corpora: what the fuzzers keep, and what they once found, holds on every machine.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use sluicegate_properties::TARGETS;

fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<_> = entries(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder))
        .map(|path| path.file_stem().expect("a file has a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn entries(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("a folder can be read").path())
}

#[test]
fn every_property_is_fuzzed_and_has_a_corpus() {
    let properties = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names("fuzz_targets"), properties);
    assert_eq!(names("corpus"), properties);
}

#[test]
fn every_property_holds_for_its_corpus() {
    let mut failed = Vec::new();
    for (name, property) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(name);
        let mut inputs: Vec<_> = entries(folder).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has an empty corpus");
        for input in inputs {
            let bytes = fs::read(&input).expect("a file of the corpus");
            if catch_unwind(AssertUnwindSafe(|| property(&bytes))).is_err() {
                failed.push(format!("{name}: {}", input.display()));
            }
        }
    }
    assert!(failed.is_empty(), "these inputs break their property, as said above:\n{}", failed.join("\n"));
}
