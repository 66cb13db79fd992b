//! Runs pgbench and reads how fast it was.

use std::time::Duration;

use sluicegate_tests::Endpoint;

/// Transactions per second of one run; all must have succeeded.
pub fn transactions(endpoint: &Endpoint, args: &[&str], length: Duration) -> f64 {
    let seconds = length.as_secs().max(1).to_string();
    // pgbench's own vacuum is left out: it would be a part of some runs and not of others.
    let report = endpoint.pgbench(&[args, &["-n", "-T", &seconds]].concat()).ok();
    let failed = number_after(&report, "number of failed transactions: ");
    assert_eq!(failed, Some(0.0), "transactions failed: {report}");
    number_after(&report, "tps = ").unwrap_or_else(|| panic!("pgbench told no speed: {report}"))
}

fn number_after(report: &str, label: &str) -> Option<f64> {
    let rest = report.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}
