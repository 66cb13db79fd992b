//! What `GET /metrics` says, taken apart: OpenMetrics' text, strictly read.

use std::collections::{BTreeMap, BTreeSet};

/// The values of one scrape.
pub struct Scrape {
    families: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Takes a text apart. Whatever is not as OpenMetrics wants it fails the test.
    pub fn of(text: &str) -> Self {
        let mut scrape = Self { families: BTreeMap::new(), samples: Vec::new() };
        let body = text.strip_suffix("# EOF\n").expect("the text ends with its end");
        for line in body.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                let (name, kind) = described.split_once(' ').expect("a name and a type");
                let before = scrape.families.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{name} is described twice");
            } else if !line.starts_with("# ") {
                let sample = Sample::of(line);
                assert!(scrape.family(&sample.name).is_some(), "{} has no type", sample.name);
                scrape.samples.push(sample);
            }
        }
        scrape
    }

    /// The sum of a metric's values that have these labels, whatever others they have.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// The names by which metrics are asked for: with `_total` and `_info`, and histograms without `_bucket`.
    pub fn families(&self) -> BTreeSet<String> {
        let name = |(name, kind): (&String, &String)| match kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.clone(),
        };
        self.families.iter().map(name).collect()
    }

    fn family(&self, sample: &str) -> Option<&String> {
        let parts = ["", "_total", "_info", "_bucket", "_sum", "_count"];
        parts.iter().filter_map(|part| sample.strip_suffix(part)).find_map(|name| self.families.get(name))
    }
}

impl Sample {
    fn of(line: &str) -> Self {
        let (head, value) = line.rsplit_once(' ').expect("a sample has a value");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let (name, labels) = head.split_once('{').map_or((head, ""), |(name, rest)| {
            (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("labels do not end: {line}")))
        });
        let pairs = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Self { name: name.to_owned(), labels: pairs.collect(), value }
    }
}
