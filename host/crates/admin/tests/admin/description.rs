//! The description is true: what it lists is there, and what it does not list is refused.

use serde_json::{Value, json};

use crate::{
    record::KNOWN,
    stage::{Stage, basic},
};

#[tokio::test]
async fn what_is_described_is_there_and_nothing_else() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let description = network.get("/openapi.json", &basic("eve")).await.body;
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 22);
    for (path, operations) in paths {
        let path = path.replace("{id}", "00000000-0000-0000-0000-000000000009");
        for (method, operation) in operations.as_object().unwrap() {
            // An empty requirement among the alternatives: no credentials are needed.
            let open = operation["security"] == json!([{}]);
            let declared = |status: u16| operation["responses"][status.to_string()].is_object();
            for (query, authorization) in
                [("", basic("ann")), ("?undeclared=1", basic("ann")), ("", basic("eve")), ("", String::new())]
            {
                let headers = [("authorization", &*authorization), ("content-type", "application/json")];
                let method = method.to_uppercase();
                let reply = network.ask(&method, &format!("{path}{query}"), &headers, "{}").await;
                assert!(declared(reply.status), "{method} {path}{query}: {reply:?}");
                assert!(query.is_empty() || reply.status == 400, "{method} {path}{query}: {reply:?}");
                let known = !authorization.is_empty() || open;
                assert!(known || reply.status == 401, "{method} {path}: {reply:?}");
            }
        }
        let other = network.ask("PATCH", &path, &[("authorization", &basic("ann"))], "").await;
        assert_eq!((other.status, other.head.contains("\r\nallow: ")), (405, true), "{path}: {other:?}");
    }
}

#[tokio::test]
async fn references_lead_somewhere() {
    let stage = Stage::new();
    let description = stage.listen().await.get("/openapi.json", &basic("eve")).await.body;
    let mut references = Vec::new();
    collect(&description, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn an_entry_has_the_fields_that_are_described() {
    let network = Stage::new().listen().await;
    let description = network.get("/openapi.json", &basic("eve")).await.body;
    let view = network.get(&format!("/api/v1/sessions/{}", KNOWN.0), &basic("ann")).await.body;
    let mut fields = Vec::new();
    for part in description.pointer("/components/schemas/KeptEntry/allOf").unwrap().as_array().unwrap() {
        let reference = part["$ref"].as_str().map(|path| description.pointer(&path[1..]).unwrap());
        let schema = reference.unwrap_or(part);
        assert_eq!(schema["required"].as_array().unwrap().len(), schema["properties"].as_object().unwrap().len());
        fields.extend(schema["properties"].as_object().unwrap().keys());
    }
    fields.sort();
    let mut written: Vec<_> = view["entries"][0].as_object().unwrap().keys().collect();
    written.sort();
    assert_eq!(fields, written);
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
