//! Where log lines go: standard error, for people or as JSON. A line that is written for a session says
//! which, whoever writes it.

use std::{fmt, io::IsTerminal};

use anyhow::Context;
use clap::ValueEnum;
use serde::Deserialize;
use sluicegate_core::scope;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, Writer},
        layer,
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// How much is logged where nobody says.
const DEFAULT_LEVEL: &str = "info";
/// Says how much, where no flag does.
const LEVEL_VARIABLE: &str = "RUST_LOG";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people, in colour on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`, or what flags say in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// How lines look.
    pub format: Option<Format>,
    /// How much is logged: a level, or directives.
    pub level: Option<String>,
}

impl Log {
    /// What these say, and what `others` say where these say nothing.
    pub fn or(self, others: Self) -> Self {
        Self { format: self.format.or(others.format), level: self.level.or(others.level) }
    }

    /// What the environment says.
    pub fn from_environment() -> Self {
        let level = std::env::var(LEVEL_VARIABLE).ok().filter(|level| !level.is_empty());
        Self { format: None, level }
    }
}

/// Whether a text says how much is logged: `error`, `warn`, `info`, `debug` or `trace`, or a list of
/// directives such as `info,sluicegate_postgres=debug`.
pub fn is_level(text: &str) -> bool {
    filter(text).is_ok()
}

fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("notify=warn,{level}"))
}

/// Starts logging.
pub fn start(log: Log) -> anyhow::Result<()> {
    let level = log.level.as_deref().unwrap_or(DEFAULT_LEVEL);
    let filter = filter(level)
        .with_context(|| format!("`{level}` is not a log level: write error, warn, info, debug or trace"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = layer().with_writer(std::io::stderr);
    match log.format.unwrap_or_default() {
        Format::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let text = WithSession { lines: format::format().with_ansi(colour), json: false };
            registry.with(lines.with_ansi(colour).event_format(text)).try_init()
        }
        Format::Json => {
            let json = WithSession { lines: format::json().flatten_event(true), json: true };
            registry.with(lines.json().event_format(json)).try_init()
        }
    }
    .context("logging was started twice")
}

/// Adds the session to lines that do not name one themselves.
struct WithSession<F> {
    lines: F,
    json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithSession<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let named = event.metadata().fields().field("session").is_some();
        let Some(session) = scope::session().filter(|_| !named) else {
            return self.lines.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) if self.json => write!(writer, "{{\"session\":\"{session}\",{rest}"),
            _ => writeln!(writer, "{} session={session}", line.trim_end_matches('\n')),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use sluicegate_core::SessionId;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `work` logs.
    fn logged(json: bool, work: impl Future<Output = ()>) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = layer().with_writer(move || writer.clone());
        let registry = tracing_subscriber::registry();
        let _guard = if json {
            let format = WithSession { lines: format::json().flatten_event(true), json };
            tracing::subscriber::set_default(registry.with(layer.json().event_format(format)))
        } else {
            let format = WithSession { lines: format::format().with_ansi(false), json };
            tracing::subscriber::set_default(registry.with(layer.with_ansi(false).event_format(format)))
        };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    async fn some_lines(session: SessionId) {
        tracing::info!("before");
        scope::in_session(session, async {
            tracing::info!(sequence = 7, "unnamed");
            tracing::info!(session = %session, "named");
        })
        .await;
        tracing::info!("after");
    }

    #[test]
    fn a_line_of_a_session_says_so_once() {
        let session = SessionId(uuid::Uuid::from_u128(7));
        let id = session.to_string();
        let text = logged(false, some_lines(session));
        let counts: Vec<_> = text.lines().map(|line| line.matches(&format!("session={id}")).count()).collect();
        assert_eq!(counts, [0, 1, 1, 0], "{text}");
        let json = logged(true, some_lines(session));
        let found: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let sessions: Vec<_> = found.iter().map(|line| line["session"].as_str()).collect();
        assert_eq!(sessions, [None, Some(&*id), Some(&*id), None], "{json}");
        assert_eq!(json.matches("\"session\"").count(), 2, "{json}");
        assert_eq!((&found[1]["message"], &found[1]["sequence"]), (&"unnamed".into(), &7.into()));
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_file() {
        let level = |level: &str| Log { format: None, level: Some(level.to_owned()) };
        let file = Log { format: Some(Format::Json), level: Some("warn".to_owned()) };
        assert_eq!(
            level("debug").or(level("error")).or(file.clone()),
            Log { format: Some(Format::Json), ..level("debug") }
        );
        assert_eq!(Log::default().or(file.clone()), file);
        assert!(is_level("info,sluicegate_postgres=debug") && !is_level("info,=x=y"));
    }
}
