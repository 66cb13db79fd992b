//! Instruments for time. `prometheus-client`'s own histogram takes a lock for each observation, which
//! every session of a target would queue for; this one is two relaxed atomics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

const NANOS: f64 = 1e9;

/// The buckets' upper bounds, in nanoseconds: from a call of a policy to a query that takes long.
const BOUNDS: [u64; 24] = [
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    60_000_000_000,
];

/// How long something took, as a distribution. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        let nanos = nanos(took);
        let place = BOUNDS.iter().position(|bound| nanos <= *bound);
        place.and_then(|place| self.0.counts.get(place)).unwrap_or(&self.0.beyond).fetch_add(1, Relaxed);
        self.0.nanos.fetch_add(nanos, Relaxed);
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let counts = BOUNDS.iter().zip(&self.0.counts).map(|(bound, count)| (*bound as f64 / NANOS, count));
        let counts = counts.chain([(f64::INFINITY, &self.0.beyond)]);
        let buckets: Vec<(f64, u64)> = counts.map(|(bound, count)| (bound, count.load(Relaxed))).collect();
        // The count is of these very loads, so that it agrees with the buckets while others count on.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.nanos.load(Relaxed) as f64 / NANOS;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

/// How long things took together, where a distribution would be too many series. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Seconds(Arc<AtomicU64>);

impl Seconds {
    /// Adds time.
    pub fn add(&self, took: Duration) {
        self.0.fetch_add(nanos(took), Relaxed);
    }
}

impl EncodeMetric for Seconds {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let seconds = self.0.load(Relaxed) as f64 / NANOS;
        encoder.encode_counter::<NoLabelSet, _, u64>(&seconds, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Seconds {
    const TYPE: MetricType = MetricType::Counter;
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    fn text(histogram: &Histogram) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register("took_seconds", "It took", histogram.clone());
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn an_observation_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        assert!(BOUNDS.is_sorted());
        let histogram = Histogram::default();
        for micros in [1, 2, 3, 5_000, 90_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let text = text(&histogram);
        for line in [
            "took_seconds_bucket{le=\"5e-7\"} 0",
            "took_seconds_bucket{le=\"0.000001\"} 1",
            "took_seconds_bucket{le=\"0.000002\"} 2",
            "took_seconds_bucket{le=\"0.000005\"} 3",
            "took_seconds_bucket{le=\"0.002\"} 3",
            "took_seconds_bucket{le=\"0.005\"} 4",
            "took_seconds_bucket{le=\"60.0\"} 4",
            "took_seconds_bucket{le=\"+Inf\"} 5",
            "took_seconds_count 5",
            "took_seconds_sum 90.005006",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
