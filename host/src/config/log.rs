//! `[log]` and `[telemetry]`: how log lines look, how much is logged, and who gets traces.

use serde::Deserialize;
use sluicegate_telemetry::Endpoint;
use toml::{Spanned, de::DeValue};

use super::{parse::Reader, report::Problem, section};
use crate::logging::{Format, Log, is_level};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSection {
    format: Option<Format>,
    level: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TelemetrySection {
    otlp_endpoint: Spanned<String>,
}

impl Reader<'_> {
    /// `[telemetry]`.
    pub(super) fn telemetry(&mut self, value: Spanned<DeValue<'_>>) -> Option<Endpoint> {
        let table = section::table(self.report, "[telemetry]", value)?;
        let TelemetrySection { otlp_endpoint } = section::read(self.report, "[telemetry]", table, &[])?;
        match otlp_endpoint.get_ref().parse::<Endpoint>() {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                self.report.push(Problem::error(error.to_string()).at(otlp_endpoint.span()).help(error.help()));
                None
            }
        }
    }

    /// `[log]`.
    pub(super) fn log(&mut self, value: Option<Spanned<DeValue<'_>>>) -> Log {
        let table = value.and_then(|value| section::table(self.report, "[log]", value));
        let section = table.and_then(|table| section::read::<LogSection>(self.report, "[log]", table, &[]));
        let Some(LogSection { format, level }) = section else { return Log::default() };
        if let Some(level) = level.as_ref().filter(|level| !is_level(level.get_ref())) {
            let problem = Problem::error("this is not a log level").at(level.span());
            let help = "write `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,policy=debug`";
            self.report.push(problem.help(help));
        }
        Log { format, level: level.map(Spanned::into_inner) }
    }
}
