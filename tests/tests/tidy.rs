//! The rules of the house that the compiler cannot hold: what every source file opens with, how long
//! it may get, what core may name, what stands at the top level, and what no file may speak of.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Folders whose Rust files the rules are about.
const SOURCES: [&str; 4] = ["host/", "policies-sdk/", "example-policies/", "tests/"];

/// What may stand at the top level, beside dotfiles.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "Justfile",
    "LICENSE",
    "README.md",
    "example-policies",
    "host",
    "policies-sdk",
    "tests",
    "wit",
];

/// Core is where every protocol meets, so it knows none of them.
const PROTOCOLS: [&str; 8] = ["postgres", "postgresql", "pgwire", "http", "kubernetes", "k8s", "ssh", "mysql"];

/// The most lines of a file, its tests not counted.
const MAX_LINES: usize = 400;

/// From here on a file is named, so that somebody looks whether it is still one thing.
const LONG_LINES: usize = 300;

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent: Vec<_> = rust_files().into_iter().filter(|file| !file.text.starts_with("//! ")).collect();
    assert!(silent.is_empty(), "these files do not open with a `//!` line:{}", listed(&silent));
}

#[test]
fn no_source_file_is_too_long() {
    let mut long: Vec<(usize, File)> = rust_files()
        .into_iter()
        .filter(|file| !file.name.contains("/tests/"))
        .map(|file| (lines_without_tests(&file.text), file))
        .filter(|(lines, _)| *lines > LONG_LINES)
        .collect();
    long.sort_by_key(|(lines, _)| std::cmp::Reverse(*lines));
    for (lines, file) in &long {
        println!("long: {} has {lines} lines; {LONG_LINES} is the taste of the house", file.name);
    }
    let too_long: Vec<_> = long.into_iter().filter(|(lines, _)| *lines > MAX_LINES).map(|(_, file)| file).collect();
    assert!(too_long.is_empty(), "these files have more than {MAX_LINES} lines:{}", listed(&too_long));
}

#[test]
fn core_names_no_protocol() {
    let mut found = Vec::new();
    for file in rust_files().iter().filter(|file| file.name.starts_with("host/crates/core/src/")) {
        for (number, line) in file.text.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
            if let Some(word) = words.find(|word| PROTOCOLS.contains(&word.as_str())) {
                found.push(format!("{}:{}: {word}", file.name, number + 1));
            }
        }
    }
    assert!(found.is_empty(), "core names protocols:\n{}", found.join("\n"));
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    let mut strangers: Vec<_> = file_names()
        .iter()
        .filter_map(|name| name.split('/').next().map(str::to_owned))
        .filter(|top| !top.starts_with('.') && !TOP_LEVEL.contains(&top.as_str()))
        .collect();
    strangers.dedup();
    assert!(strangers.is_empty(), "these do not belong at the top level: {strangers:?}");
}

#[test]
fn no_file_speaks_of_one_machine_or_of_how_it_was_written() {
    // Put together here, so that this file does not hold them.
    let forbidden =
        [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["helper ", "agent"], ["sub", "agent"]].map(|w| w.concat());
    let mut found = Vec::new();
    for file in files(&file_names()) {
        for (number, line) in file.text.lines().enumerate() {
            let lower = line.to_ascii_lowercase();
            if let Some(word) = forbidden.iter().find(|word| lower.contains(word.as_str())) {
                found.push(format!("{}:{}: {word}", file.name, number + 1));
            }
        }
    }
    assert!(found.is_empty(), "these lines hold what no file may:\n{}", found.join("\n"));
}

/// A text file of the repository.
struct File {
    /// Its path from the top, with `/`.
    name: String,
    text: String,
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests' folder stands in the repository").to_owned()
}

/// Every file that is tracked, or would be by `git add --all`.
fn file_names() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is needed to list the repository's files");
    assert!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let mut names: Vec<_> = text.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    assert!(names.len() > 10, "git lists hardly any file");
    names
}

/// The files that hold text; one that was deleted but not yet committed is left out.
fn files(names: &[String]) -> Vec<File> {
    let root = root();
    names
        .iter()
        .filter_map(|name| fs::read_to_string(root.join(name)).ok().map(|text| File { name: name.clone(), text }))
        .collect()
}

fn rust_files() -> Vec<File> {
    let mut names = file_names();
    names.retain(|name| name.ends_with(".rs") && SOURCES.iter().any(|folder| name.starts_with(folder)));
    files(&names)
}

fn lines_without_tests(text: &str) -> usize {
    // Only where the tests themselves stand: `mod tests;` is one line among others.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.windows(2).position(|pair| pair == ["#[cfg(test)]", "mod tests {"]).unwrap_or(lines.len())
}

fn listed(files: &[File]) -> String {
    files.iter().map(|file| format!("\n{}", file.name)).collect()
}
