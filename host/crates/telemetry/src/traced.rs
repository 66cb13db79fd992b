//! A recorder that also makes traces, and the thread that sends them. The queue to that thread is bounded:
//! where the collector is slow or away, spans are dropped, and sessions go on.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanProcessor},
};
use sluicegate_core::record::{Appended, Entry, RecordFuture, Recorder};

use crate::{endpoint::Endpoint, spans::Spans};

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to {endpoint}: {why}")]
pub struct StartError {
    endpoint: Endpoint,
    why: String,
}

/// Records, and makes traces of what is recorded.
pub struct Traced {
    inner: Arc<dyn Recorder>,
    spans: Spans,
    sender: BatchSpanProcessor,
}

impl Traced {
    /// Before this recorder. `version` is the gateway's. Nobody is asked yet whether they take traces.
    pub fn start(inner: Arc<dyn Recorder>, endpoint: &Endpoint, version: &'static str) -> Result<Self, StartError> {
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint.traces()).build();
        let exporter = exporter.map_err(|error| StartError { endpoint: endpoint.clone(), why: error.to_string() })?;
        let mut sender = BatchSpanProcessor::builder(exporter).build();
        let resource = Resource::builder().with_service_name("sluicegate");
        let resource = resource.with_attribute(KeyValue::new("service.version", version));
        sender.set_resource(&resource.build());
        Ok(Self { inner, spans: Spans::default(), sender })
    }

    /// Sends what is left, and ends. Blocks, for some seconds where the collector does not answer.
    pub fn end(&self) {
        // What could not be sent is in the log.
        let _ = self.sender.shutdown();
    }
}

impl Recorder for Traced {
    fn append(&self, entry: Entry) -> Appended<'_> {
        for span in self.spans.note(&entry, SystemTime::now()) {
            self.sender.on_end(span);
        }
        self.inner.append(entry)
    }

    fn flush(&self) -> RecordFuture<'_> {
        self.inner.flush()
    }
}
