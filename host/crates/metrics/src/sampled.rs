//! What is not counted but asked for when it is scraped: how many wait, how full a queue is.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::label::Text;

/// One value with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    labels: Vec<(&'static str, Text)>,
    value: f64,
}

impl Sample {
    /// A value without labels.
    pub fn of(value: f64) -> Self {
        Self { labels: Vec::new(), value }
    }

    /// A value with labels, each a name and a value.
    pub fn labelled(value: f64, labels: &[(&'static str, &str)]) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, Text::from(*value)));
        Self { labels: labels.collect(), value }
    }
}

/// Values under one name, asked for at each scrape.
pub(crate) struct Sampled {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// Whether they only ever grow.
    pub(crate) counter: bool,
    pub(crate) ask: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sampled").field(&self.name).finish()
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let samples = (self.ask)();
        if samples.is_empty() {
            return Ok(());
        }
        let kind = if self.counter { MetricType::Counter } else { MetricType::Gauge };
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        if let [Sample { labels, value }] = samples.as_slice()
            && labels.is_empty()
        {
            return self.put(*value, encoder);
        }
        samples.iter().try_for_each(|sample| self.put(sample.value, encoder.encode_family(&sample.labels)?))
    }
}

impl Sampled {
    fn put(&self, value: f64, encoder: MetricEncoder) -> fmt::Result {
        if self.counter { ConstCounter::new(value).encode(encoder) } else { ConstGauge::new(value).encode(encoder) }
    }
}
