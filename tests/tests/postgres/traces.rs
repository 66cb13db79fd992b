//! Traces, where a collector is configured: a span for each session and each command, with nothing in them
//! that the record does not keep, and no texts at all.

use std::{collections::HashMap, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use sluicegate_tests::{Gateway, programs::eventually, webhook::Webhook};

use crate::{database, record::newest};

fn spans(collector: &Webhook) -> Vec<Span> {
    let requests = collector.deliveries().into_iter().map(|delivery| {
        assert_eq!(delivery.header("content-type"), "application/x-protobuf");
        ExportTraceServiceRequest::decode(delivery.body).expect("OTLP's own message")
    });
    let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|resource| {
        let service = text(&resource.resource.as_ref().expect("a resource").attributes, "service.name");
        assert_eq!(service, "sluicegate");
        resource.scope_spans
    });
    scopes.flat_map(|scope| scope.spans).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key} is {other:?}"),
    }
}

#[test]
fn a_session_is_a_trace_and_its_commands_are_spans() {
    let collector = Webhook::start(0);
    let endpoint = collector.url().trim_end_matches("/hook").to_owned();
    let database = database();
    let mut gateway = Gateway::before(&database)
        .policy("pii-mask", r#"columns = ["*.ssn"]"#)
        .policy("sql-guard", r#"deny = ["drop"]"#)
        .table("telemetry", &format!("otlp_endpoint = \"{endpoint}\""))
        .start();
    gateway.alice().psql_on("SELECT ssn, 'a literal' FROM customers WHERE id < 3;\nDROP TABLE orders;\nSELECT 1/0;");
    newest(&gateway, 1);
    let listed = gateway.json(&["sessions", "list"]);
    let session = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    eventually("the session's trace arrives", Duration::from_secs(30), || {
        spans(&collector).iter().any(|span| span.name == "session")
    });
    let spans = spans(&collector);
    let trace: Vec<u8> = hex(&session.replace('-', ""));
    assert!(spans.iter().all(|span| span.trace_id == trace), "the trace's id is the session's");
    let root = spans.iter().find(|span| span.name == "session").unwrap();
    assert_eq!(text(&root.attributes, "enduser.id"), "alice");
    assert_eq!(text(&root.attributes, "sluicegate.session"), session);
    assert!(root.parent_span_id.is_empty());
    let commands: HashMap<String, &Span> = spans
        .iter()
        .filter(|span| span.name == "command")
        .map(|span| (text(&span.attributes, "sluicegate.sequence"), span))
        .collect();
    assert_eq!(commands.len(), 3);
    for command in commands.values() {
        assert_eq!(command.parent_span_id, root.span_id);
        assert!(command.start_time_unix_nano >= root.start_time_unix_nano);
        assert!(command.end_time_unix_nano <= root.end_time_unix_nano);
    }
    let verdicts = ["1", "2", "3"].map(|n| text(&commands[n].attributes, "sluicegate.verdict"));
    assert_eq!(verdicts, ["allowed", "blocked", "allowed"]);
    assert_eq!(text(&commands["2"].attributes, "sluicegate.policy"), "sql-guard");
    assert_eq!(text(&commands["1"].attributes, "sluicegate.masked"), "2");
    assert_eq!(text(&commands["3"].attributes, "sluicegate.status"), "22012");
    assert!(commands["3"].status.as_ref().is_some_and(|status| status.code == 2), "an error of the target's");
    assert!(commands["1"].events.iter().any(|event| text(&event.attributes, "sluicegate.policy") == "pii-mask"));
    let everything = format!("{spans:?}");
    assert!(!everything.contains("a literal") && !everything.contains("SELECT ssn"), "{everything}");
    assert!(gateway.stop(Duration::from_secs(30)));
}

#[test]
fn a_collector_that_does_not_answer_holds_nobody_up() {
    let collector = Webhook::start(usize::MAX);
    let endpoint = collector.url().trim_end_matches("/hook").to_owned();
    let mut gateway =
        Gateway::before(&database()).table("telemetry", &format!("otlp_endpoint = \"{endpoint}\"")).start();
    let script: String = (0..3000).map(|n| format!("SELECT {n};\n")).collect();
    gateway.alice().psql(&script).ok();
    eventually("it is told that spans are lost", Duration::from_secs(60), || {
        gateway.log().to_ascii_lowercase().contains("opentelemetry")
    });
    gateway.alice().psql("SELECT 1").ok();
    assert!(gateway.stop(Duration::from_secs(40)));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}
