//! The gateway's memory, handles and threads over time, and whether they stay as they are.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use sluicegate_tests::Gateway;

/// What the first third of the time is for: caches fill, allocators find their size.
const WARM_UP: f64 = 1.0 / 3.0;

/// How much memory may rise over a third of the time, as a share of itself and in bytes beside that.
const SHARE: f64 = 0.03;
const BYTES: f64 = 6.0 * 1024.0 * 1024.0;

/// Handles that may be open now and not before: the catalog's connection, and a file of the store's.
const HANDLES: usize = 2;

/// How long what ends by itself may take to end.
const REST: Duration = Duration::from_secs(60);

/// How long nothing may change for the gateway to be at rest; idle threads of the runtime end within ten seconds.
const STILL: Duration = Duration::from_secs(12);

/// One look at the process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    memory: u64,
    handles: usize,
    threads: usize,
}

impl Sample {
    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the gateway runs");
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
            line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
        };
        Self {
            memory: number("VmRSS:") * 1024,
            handles: fs::read_dir(format!("/proc/{process}/fd")).expect("the gateway runs").count(),
            threads: usize::try_from(number("Threads:")).expect("few threads"),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB, {} handles, {} threads", mib(self.memory as f64), self.handles, self.threads)
    }
}

/// Waits until the gateway's handles and threads stand still, and says where.
pub fn at_rest(gateway: &Gateway) -> Sample {
    let started = Instant::now();
    let mut last = Sample::of(gateway.id());
    let mut since = Instant::now();
    while since.elapsed() < STILL && started.elapsed() < REST {
        std::thread::sleep(Duration::from_millis(500));
        let now = Sample::of(gateway.id());
        if (now.handles, now.threads) != (last.handles, last.threads) {
            since = Instant::now();
        }
        last = now;
    }
    last
}

/// What is open or runs although nobody is connected any more, beyond what was before.
pub fn is_back(gateway: &Gateway, base: &Sample) -> Vec<String> {
    let now = at_rest(gateway);
    println!("soak: at rest again: {now}; before: {base}");
    let mut failures = Vec::new();
    if now.handles > base.handles + HANDLES {
        let open = fs::read_dir(format!("/proc/{}/fd", gateway.id())).expect("the gateway runs").flatten();
        let names: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
        failures.push(format!("{} handles are open, and {} were before: {names:?}", now.handles, base.handles));
    }
    if now.threads > base.threads {
        failures.push(format!("{} threads run, and {} did before", now.threads, base.threads));
    }
    failures
}

/// The samples of a soak.
pub struct Samples {
    process: u32,
    length: Duration,
    taken: Vec<(Duration, Sample)>,
}

impl Samples {
    pub fn new(process: u32, length: Duration) -> Self {
        Self { process, length, taken: Vec::new() }
    }

    pub fn take(&mut self, at: Duration) {
        self.taken.push((at, Sample::of(self.process)));
    }

    pub fn last(&self) -> Sample {
        self.taken.last().expect("a sample was taken").1
    }

    /// Whether memory is flat: neither the line through the last third nor the step from the second third
    /// to the last may rise by more than the tolerance.
    pub fn judge(&self) -> Vec<String> {
        let length = self.length.as_secs_f64();
        let third = |from: f64, to: f64| -> Vec<(f64, f64)> {
            let within = |at: f64| (length * from..=length * to).contains(&at);
            let points = self.taken.iter().map(|(at, sample)| (at.as_secs_f64(), sample.memory as f64));
            points.filter(|(at, _)| within(*at)).collect()
        };
        let (second, last) = (third(WARM_UP, 2.0 * WARM_UP), third(2.0 * WARM_UP, 1.0));
        let (before, after) = (median(&second), median(&last));
        let tolerance = before * SHARE + BYTES;
        let rises = [slope(&second), slope(&last)].map(|slope| slope * length * WARM_UP);
        println!(
            "soak: memory: second third {:.1} MiB ({:+.1} over it), last third {:.1} MiB ({:+.1} over it); tolerance {:.1} MiB",
            mib(before),
            mib(rises[0]),
            mib(after),
            mib(rises[1]),
            mib(tolerance)
        );
        let mut failures = Vec::new();
        if after - before > tolerance {
            failures.push(format!("memory rose by {:.1} MiB from the second third to the last", mib(after - before)));
        }
        if rises[1] > tolerance {
            failures.push(format!("memory rises by {:.1} MiB over the last third", mib(rises[1])));
        }
        failures
    }
}

fn mib(bytes: f64) -> f64 {
    bytes / 1024.0 / 1024.0
}

fn median(points: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().expect("there are samples in each third")
}

/// Of the line with the least squares, per second.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if below == 0.0 { 0.0 } else { above / below }
}
