//! The numbers' place in the documentation: the chart, and the part of the page between two comments.

use std::{fs, path::PathBuf};

const BEGIN: &str = "<!-- measured: `just bench --write` replaces what follows -->\n";
const END: &str = "<!-- end of what was measured -->\n";

/// Replaces the chart and the measured part of the page.
pub fn write(measured: &str, chart: &str) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../host"));
    let path = folder.join("BENCHMARKS.md");
    let page = fs::read_to_string(&path).expect("the page is in the repository");
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the numbers begin");
    let (_, after) = rest.split_once(END).expect("the page says where the numbers end");
    fs::write(&path, format!("{before}{BEGIN}\n{measured}\n{END}{after}")).expect("the page can be written");
    fs::write(folder.join("benchmarks.svg"), chart).expect("the chart can be written");
}
