//! Runs the fixtures that the policy ships, and holds its schema against its settings.

use sluicegate_policy::{Policy, testing};
use sql_guard::SqlGuard;

#[test]
fn fixtures() {
    testing::assert_fixtures::<SqlGuard>(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"));
}

/// The refusal of an unknown field lists the fields that there are.
#[test]
fn the_schema_has_the_fields_of_the_settings() {
    let schema: serde_json::Value = serde_json::from_str(SqlGuard::SETTINGS_SCHEMA).unwrap();
    let listed: Vec<_> = schema["properties"].as_object().unwrap().keys().map(|name| format!("`{name}`")).collect();
    let error = testing::configure::<SqlGuard>(r#"{"?": 0}"#).unwrap_err();
    let mut known: Vec<_> = error.rsplit_once("one of ").unwrap().1.split(", ").collect();
    known.sort_unstable();
    assert_eq!(listed, known);
}
