//! Where the policies are that tests deploy: the shipped ones, and the tests' own guest.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The folder of the shipped policies, where it is not that of `just policies`.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Takes the shipped policies from another folder, for measurements. Said before anything starts, and once.
pub fn choose_folder(path: PathBuf) {
    CHOSEN.set(path).expect("the folder of policies is chosen once");
}

/// A shipped policy: from the chosen folder, or as `just policies` built it.
pub fn shipped(name: &str) -> Vec<u8> {
    let folder = CHOSEN.get().cloned().unwrap_or_else(|| built().join("policies"));
    read(&folder.join(name).with_extension("wasm"))
}

/// The tests' guest (tests/guest), made to behave: `allow`, `block`, `mask name`, `trap`, ...
pub fn guest(behaviour: &str) -> Vec<u8> {
    const MARK: &[u8] = b"behaviour=allow                 ";
    let mut module = read(&built().join("test-policies/guest.wasm"));
    let mut marks = (0..module.len() - MARK.len()).filter(|&at| module[at..].starts_with(MARK));
    let at = marks.next().expect("the guest holds its mark");
    assert!(marks.next().is_none(), "the guest holds its mark once");
    let text = format!("behaviour={behaviour:<22}");
    assert_eq!(text.len(), MARK.len(), "a behaviour has at most 22 characters");
    module[at..at + MARK.len()].copy_from_slice(text.as_bytes());
    module
}

fn built() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| {
        panic!("{} cannot be read ({error}); run the tests by `just test`, which builds it", path.display())
    })
}
