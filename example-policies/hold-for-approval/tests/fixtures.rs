//! Runs the fixtures that the policy ships, and holds its schema against its settings.

#![allow(clippy::unwrap_used, reason = "a test that is surprised fails")]

use hold_for_approval::HoldForApproval;
use serde_json::Value;
use sluicegate_policy::{Policy, testing};

#[test]
fn fixtures() {
    testing::assert_fixtures::<HoldForApproval>(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"));
}

/// The fields that the refusal of an unknown field lists.
fn known(settings: &str) -> Vec<String> {
    let error = testing::configure::<HoldForApproval>(settings).unwrap_err();
    let mut known: Vec<_> = error.rsplit_once("one of ").unwrap().1.split(", ").map(str::to_owned).collect();
    known.sort_unstable();
    known
}

fn listed(properties: &Value) -> Vec<String> {
    properties.as_object().unwrap().keys().map(|name| format!("`{name}`")).collect()
}

#[test]
fn the_schema_has_the_fields_of_the_settings() {
    let schema: Value = serde_json::from_str(HoldForApproval::SETTINGS_SCHEMA).unwrap();
    assert_eq!(listed(&schema["properties"]), known(r#"{"?": 0}"#));
    assert_eq!(listed(&schema["$defs"]["entry"]["properties"]), known(r#"{"when": {"?": 0}}"#));
}

#[test]
fn settings_that_could_not_work_are_refused() {
    let refusal = |when: &str, rest: &str| {
        let settings = format!(r#"{{"when": {when}, {rest}}}"#);
        testing::configure::<HoldForApproval>(&settings).map(|_| ()).unwrap_err()
    };
    let delete = r#"{"kinds": ["delete"]}"#;
    let dba = r#""approvers": ["group:dba"]"#;
    for (when, rest, part) in [
        ("[]", dba, "`when` is empty"),
        ("[{}]", dba, "`when[0]`: it has no condition"),
        (r#"{"missing_where": false}"#, dba, "it has no condition"),
        (r#"[{"kinds": ["drop"]}, {"tables": []}]"#, dba, "`when[1]`: `tables` is empty"),
        (r#"{"kinds": ["dorp"]}"#, dba, "`when.kinds[0]`: `dorp` begins no statement's SQL name"),
        (r#"[{"classes": ["unanalysable"]}]"#, dba, "none of the classes"),
        (r#"[{"tables": ["a.b.c"]}]"#, dba, "`name` or `schema.name`"),
        ("7", dba, "expected a table of conditions, or a list of them"),
        (delete, r#""approvers": []"#, "names 1 to 64"),
        (delete, r#""approvers": ["dba"]"#, "`dba`, which names nobody"),
        (delete, r#""approvers": ["user:a", "user:a"], "min_approvals": 2"#, "names only 1"),
        (delete, r#""approvers": ["group:a"], "min_approvals": 17"#, "from 1 to 16"),
        (delete, r#""approvers": ["group:a"], "min_approvals": 0"#, "from 1 to 16"),
        (delete, r#""approvers": ["group:a"], "expires": "9s""#, "`expires` is 9s; write a time from 10s to 7days"),
        (delete, r#""approvers": ["group:a"], "expires": "soon""#, "`soon` is no time such as `10m`"),
        (delete, r#""approvers": ["group:a"], "remember": "8d""#, "`remember` is 8days"),
        (delete, r#""min_approvals": 1"#, "missing field `approvers`"),
    ] {
        let error = refusal(when, rest);
        assert!(error.contains(part), "{when} {rest}: {error}");
    }
}
