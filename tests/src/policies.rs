//! Where the policies are that tests deploy: the shipped ones, and the tests' own guest.

use std::{fs, path::PathBuf};

/// A shipped policy, as `just policies` built it.
pub fn shipped(name: &str) -> Vec<u8> {
    read(&format!("policies/{name}.wasm"))
}

/// The tests' guest (tests/guest), made to behave: `allow`, `block`, `mask name`, `trap`, ...
pub fn guest(behaviour: &str) -> Vec<u8> {
    const MARK: &[u8] = b"behaviour=allow                 ";
    let mut module = read("test-policies/guest.wasm");
    let mut marks = (0..module.len() - MARK.len()).filter(|&at| module[at..].starts_with(MARK));
    let at = marks.next().expect("the guest holds its mark");
    assert!(marks.next().is_none(), "the guest holds its mark once");
    let text = format!("behaviour={behaviour:<22}");
    assert_eq!(text.len(), MARK.len(), "a behaviour has at most 22 characters");
    module[at..at + MARK.len()].copy_from_slice(text.as_bytes());
    module
}

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")).join(name);
    fs::read(&path).unwrap_or_else(|error| {
        panic!("{} cannot be read ({error}); run the tests by `just test`, which builds it", path.display())
    })
}
