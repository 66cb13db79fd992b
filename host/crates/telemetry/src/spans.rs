//! From entries of the record to spans: which entries begin one, which end it, and what it says.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Array, InstrumentationScope, KeyValue, StringValue, Value,
    trace::{Event as SpanEvent, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sluicegate_core::{
    Denial, SessionId,
    policy::Opinion,
    record::{CommandEntry, Entry, Event, Opened, Outcome},
};

/// How many of the things that a command names its span says.
const MAX_RESOURCES: usize = 32;

/// The sessions that are open, and their commands that run.
#[derive(Default)]
pub(crate) struct Spans(Mutex<HashMap<SessionId, Session>>);

struct Session {
    began: SystemTime,
    attributes: Vec<KeyValue>,
    commands: HashMap<u64, Running>,
}

struct Running {
    began: SystemTime,
    attributes: Vec<KeyValue>,
    events: Vec<SpanEvent>,
}

impl Spans {
    /// Takes in an entry that is made `now`, and returns the spans that end with it.
    pub(crate) fn note(&self, entry: &Entry, now: SystemTime) -> Vec<SpanData> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = entry.session;
        if let Event::Opened(opened) = &entry.event {
            let (attributes, commands) = (who(id, opened), HashMap::new());
            sessions.insert(id, Session { began: before(now, &opened.opinions), attributes, commands });
            return Vec::new();
        }
        if let Event::Closed(closed) = &entry.event {
            return sessions.remove(&id).map_or_else(Vec::new, |session| session.ended(id, &closed.reason, now));
        }
        let Some(session) = sessions.get_mut(&id) else { return Vec::new() };
        match &entry.event {
            Event::Command(command) => session.command(id, command, now).into_iter().collect(),
            Event::Outcome(outcome) => session.outcome(id, outcome, now).into_iter().collect(),
            Event::Held(approval) => session.happened(approval.sequence, "held", now, Vec::new()),
            Event::Answered(answered) => {
                let approved = KeyValue::new("sluicegate.approved", answered.answer.approved);
                session.happened(answered.sequence, "answered", now, vec![approved])
            }
            Event::HoldEnded(ended) => {
                let state = KeyValue::new("sluicegate.state", ended.state.word());
                session.happened(ended.sequence, "hold ended", now, vec![state])
            }
            Event::Governed(_) | Event::Refused(_) | Event::Opened(_) | Event::Closed(_) => Vec::new(),
        }
    }
}

impl Session {
    fn command(&mut self, id: SessionId, command: &CommandEntry, now: SystemTime) -> Option<SpanData> {
        let resources = command.resources.iter().take(MAX_RESOURCES).map(|name| StringValue::from(name.clone()));
        let resources = Value::Array(Array::String(resources.collect()));
        let attributes = vec![
            KeyValue::new("sluicegate.sequence", number(command.sequence)),
            KeyValue::new("sluicegate.verb", command.verb.clone()),
            KeyValue::new("sluicegate.resources", resources),
        ];
        let events = command.opinions.iter().map(|opinion| said(opinion, now)).collect();
        let running = Running { began: before(now, &command.opinions), attributes, events };
        match &command.denial {
            Some(denial) => Some(running.ended(id, command.sequence, Some(denial), false, now)),
            None => {
                self.commands.insert(command.sequence, running);
                None
            }
        }
    }

    fn outcome(&mut self, id: SessionId, outcome: &Outcome, now: SystemTime) -> Option<SpanData> {
        let mut running = self.commands.remove(&outcome.sequence)?;
        running.attributes.extend([
            KeyValue::new("sluicegate.rows", number(outcome.rows)),
            KeyValue::new("sluicegate.bytes", number(outcome.bytes)),
            KeyValue::new("sluicegate.masked", number(outcome.masked)),
            KeyValue::new("sluicegate.status", outcome.status.clone()),
            KeyValue::new("sluicegate.target.micros", number(outcome.micros)),
        ]);
        running.events.extend(outcome.opinions.iter().map(|opinion| said(opinion, now)));
        Some(running.ended(id, outcome.sequence, outcome.denial.as_ref(), outcome.failed, now))
    }

    fn happened(
        &mut self,
        sequence: u64,
        what: &'static str,
        now: SystemTime,
        attributes: Vec<KeyValue>,
    ) -> Vec<SpanData> {
        if let Some(running) = self.commands.get_mut(&sequence) {
            running.events.push(SpanEvent::new(what, now, attributes, 0));
        }
        Vec::new()
    }

    /// The session's span, and those of commands whose end is not known.
    fn ended(self, id: SessionId, reason: &str, now: SystemTime) -> Vec<SpanData> {
        let Self { began, mut attributes, commands } = self;
        let commands = commands.into_iter().map(|(sequence, running)| running.ended(id, sequence, None, true, now));
        let mut spans: Vec<_> = commands.collect();
        attributes.push(KeyValue::new("sluicegate.ended", reason.to_owned()));
        spans.push(SpanData {
            parent_span_id: SpanId::INVALID,
            span_kind: SpanKind::Server,
            ..span(id, span_id(id, 0), "session", (began, now), attributes)
        });
        spans
    }
}

impl Running {
    fn ended(self, id: SessionId, sequence: u64, denial: Option<&Denial>, failed: bool, now: SystemTime) -> SpanData {
        let Self { began, mut attributes, events } = self;
        attributes
            .push(KeyValue::new("sluicegate.verdict", denial.map_or("allowed", |denial| denial.kind.verdict().word())));
        if let Some(policy) = denial.and_then(|denial| denial.policy.clone()) {
            attributes.push(KeyValue::new("sluicegate.policy", policy));
        }
        let mut span = span(id, span_id(id, sequence), "command", (began, now), attributes);
        span.events.events = events;
        // What a policy refuses is no failure of anything.
        if failed && denial.is_none() {
            span.status = Status::error("the target reported an error, or the end is not known");
        }
        span
    }
}

fn who(id: SessionId, opened: &Opened) -> Vec<KeyValue> {
    vec![
        KeyValue::new("sluicegate.session", id.to_string()),
        KeyValue::new("enduser.id", opened.user.clone()),
        KeyValue::new("client.address", opened.client.clone()),
        KeyValue::new("sluicegate.target", opened.target.clone()),
        KeyValue::new("sluicegate.protocol", opened.protocol.clone()),
    ]
}

/// What a policy said, and how long it took; not its reason, which may quote.
fn said(opinion: &Opinion, now: SystemTime) -> SpanEvent {
    let mut attributes = vec![
        KeyValue::new("sluicegate.policy", opinion.policy.to_string()),
        KeyValue::new("sluicegate.said", opinion.said.to_string()),
        KeyValue::new("sluicegate.micros", i64::from(opinion.micros)),
    ];
    attributes.extend(opinion.rule.clone().map(|rule| KeyValue::new("sluicegate.rule", rule)));
    SpanEvent::new("policy", now, attributes, 0)
}

/// A span of a session's trace, below the session's own.
fn span(
    id: SessionId,
    own: SpanId,
    name: &'static str,
    (start_time, end_time): (SystemTime, SystemTime),
    attributes: Vec<KeyValue>,
) -> SpanData {
    let trace = TraceId::from_bytes(*id.0.as_bytes());
    SpanData {
        span_context: SpanContext::new(trace, own, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: span_id(id, 0),
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: name.into(),
        start_time,
        end_time,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("sluicegate").build(),
    }
}

/// Different for each command of a session, and never zero: commands are counted from 1, and a session's
/// id ends with random bits.
fn span_id(id: SessionId, sequence: u64) -> SpanId {
    let (_, random) = id.0.as_u64_pair();
    SpanId::from_bytes(random.wrapping_add(sequence).max(1).to_be_bytes())
}

/// The policies were asked before the entry was made.
fn before(now: SystemTime, opinions: &[Opinion]) -> SystemTime {
    let micros = opinions.iter().map(|opinion| u64::from(opinion.micros)).sum();
    now.checked_sub(Duration::from_micros(micros)).unwrap_or(now)
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
