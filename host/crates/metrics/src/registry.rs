//! All instruments of one gateway, and their text.

use std::{fmt, sync::Arc};

use prometheus_client::{
    encoding::text,
    metrics::info::Info,
    registry::{Metric, Registry},
};

use crate::{
    gate::GateMetrics,
    holds::HoldMetrics,
    policies::PolicyMetrics,
    process,
    record::RecordMetrics,
    sampled::{Sample, Sampled},
};

/// What the text is, for whoever scrapes it.
/// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where a gateway's instruments come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The gateway's version.
    pub version: &'static str,
    /// The gate's.
    pub gate: Arc<GateMetrics>,
    /// The policy engine's.
    pub policies: Arc<PolicyMetrics>,
    /// The approvals'.
    pub holds: Arc<HoldMetrics>,
    /// The recorder's.
    pub record: Arc<RecordMetrics>,
}

/// All instruments of one gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    names: Vec<&'static str>,
}

/// Takes instruments in.
pub(crate) struct Registrar(Metrics);

impl Metrics {
    /// Collects the instruments.
    pub fn new(sources: &Sources) -> Self {
        let mut registrar = Registrar(Self { registry: Registry::default(), names: Vec::new() });
        let version = Info::new([("version", sources.version)]);
        registrar.take("sluicegate_build", "The gateway's version", version);
        sources.gate.register(&mut registrar);
        sources.policies.register(&mut registrar);
        sources.holds.register(&mut registrar);
        sources.record.register(&mut registrar);
        process::register(&mut registrar);
        registrar.0
    }

    /// Adds a value that is asked for at each scrape: quick, and without blocking.
    pub fn sample(
        &mut self,
        name: &'static str,
        help: &'static str,
        ask: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.sampled(Sampled { name, help, counter: false, ask: Box::new(ask) });
    }

    fn sampled(&mut self, sampled: Sampled) {
        self.names.push(sampled.name);
        self.registry.register_collector(Box::new(sampled));
    }

    /// Every metric's name, without the `_total` and `_info` of the text. The text leaves out those of which
    /// nothing was counted yet.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// All values now, in OpenMetrics' text.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Registrar {
    /// Takes an instrument whose clones count together.
    pub(crate) fn add(&mut self, name: &'static str, help: &'static str, instrument: &(impl Metric + Clone)) {
        self.take(name, help, instrument.clone());
    }

    fn take(&mut self, name: &'static str, help: &'static str, instrument: impl Metric) {
        self.0.names.push(name);
        self.0.registry.register(name, help, instrument);
    }

    pub(crate) fn sample(
        &mut self,
        name: &'static str,
        help: &'static str,
        ask: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.0.sample(name, help, ask);
    }

    pub(crate) fn sample_counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        ask: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.0.sampled(Sampled { name, help, counter: true, ask: Box::new(ask) });
    }
}
