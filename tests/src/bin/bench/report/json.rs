//! The same for programs: every round of every entry.

use serde_json::{Value, json};

use crate::{
    report::Report,
    rounds::{Measured, median},
    workloads::Workload,
};

/// Everything that was measured.
pub fn of(report: &Report) -> Value {
    let machine = &report.machine;
    let memory = report.memory.as_ref().map(|memory| {
        let idle = memory.idle.iter().map(|(who, bytes)| json!({ "who": who, "bytes_per_session": bytes }));
        let peaks = memory.peaks.iter();
        let peaks = peaks.map(|peak| json!({ "who": peak.who, "rss_1m_rows": peak.small, "rss_4m_rows": peak.large }));
        json!({ "idle": idle.collect::<Value>(), "peaks": peaks.collect::<Value>() })
    });
    json!({
        "machine": {
            "processor": machine.processor,
            "cores": machine.cores,
            "memory_gib": machine.memory,
            "kernel": machine.kernel,
            "programs": machine.programs,
        },
        "rounds": report.rounds,
        "seconds": report.seconds,
        "workloads": report.results.iter().map(|(workload, measured)| result(workload, measured)).collect::<Value>(),
        "memory": memory,
    })
}

fn result(workload: &Workload, measured: &Measured) -> Value {
    let entries = workload.entries.iter().zip(&measured.speeds);
    let goals = workload.reached(measured).map(|reached| {
        json!({
            "who": reached.goal.who,
            "beside": reached.goal.beside,
            "wanted": reached.goal.at_least,
            "ratios": reached.ratios,
            "median": reached.median(),
            "met": reached.is_met(),
        })
    });
    json!({
        "name": workload.name,
        "unit": workload.unit,
        "entries": entries
            .map(|(entry, speeds)| json!({ "who": entry.who, "speeds": speeds, "median": median(speeds) }))
            .collect::<Value>(),
        "goals": goals.collect::<Value>(),
    })
}
