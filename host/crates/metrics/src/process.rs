//! What Linux says of the process, under the names that Prometheus' clients agree on.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{registry::Registrar, sampled::Sample};

/// In which unit the kernel tells a process's times, whatever its own clock is (`USER_HZ`).
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn register(registrar: &mut Registrar) {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    registrar.sample("process_resident_memory_bytes", "Memory that the process holds", || {
        told(status("VmRSS:").map(|kib| kib * 1024.0))
    });
    registrar.sample("process_open_fds", "File descriptors that are open", || {
        told(fs::read_dir("/proc/self/fd").ok().map(|list| list.count() as f64))
    });
    registrar.sample("process_max_fds", "File descriptors that may be open", || told(max_fds()));
    registrar.sample("process_threads", "Threads", || told(status("Threads:")));
    registrar.sample("process_start_time_seconds", "When the process started, in seconds since the Unix epoch", {
        move || told(Some(started))
    });
    registrar.sample_counter("process_cpu_seconds", "Time that the processors spent on it", || told(cpu_seconds()));
}

/// Where the kernel does not say, there is no value.
fn told(value: Option<f64>) -> Vec<Sample> {
    value.map(Sample::of).into_iter().collect()
}

fn status(key: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15; the second is the program's name, which may hold anything but ends with the last `)`.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}
