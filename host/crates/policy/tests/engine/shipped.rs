//! The shipped policies in the real sandbox: what their fixtures say holds there too, and a module
//! whose fixtures do not hold is not taken.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sluicegate_core::policy::Mode;
use sluicegate_policy_engine::PolicyState;

use crate::support::*;

/// All fixtures in the folder of an example policy, as the one file that ships.
fn fixtures(policy: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../example-policies").join(policy).join("fixtures");
    let mut fixtures: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap())
        .collect();
    assert!(!fixtures.is_empty());
    fixtures.sort_by_key(Value::to_string);
    fixtures
}

fn ship(fixture: &Fixture, policy: &str, fixtures: &[Value]) {
    let policies = fixture.folder.path().join("policies");
    fs::write(policies.join(format!("{policy}.fixtures.json")), json!(fixtures).to_string()).unwrap();
}

#[test]
fn the_shipped_policies_do_what_their_fixtures_say() {
    for (policy, settings) in [
        ("pii-mask", json!({ "columns": ["*.ssn"] })),
        ("sql-guard", json!({ "deny": ["ddl"] })),
        ("hold-for-approval", json!({ "when": { "kinds": ["drop"] }, "approvers": ["group:dba"] })),
    ] {
        let fixture = Fixture::new();
        ship(&fixture, policy, &fixtures(policy));
        fixture.put(policy, &example(policy));
        fixture.bind(vec![binding(policy, Mode::Enforce, settings)]);
        assert_eq!(fixture.status(policy).state, PolicyState::Active);
    }
}

#[test]
fn only_the_shipped_policy_that_masks_counts_as_masking() {
    for (policy, settings, masks, results) in [
        ("pii-mask", json!({ "columns": ["*.ssn"] }), true, true),
        ("sql-guard", json!({ "deny": ["ddl"] }), false, false),
        ("sql-guard", json!({ "max_rows": 5 }), false, true),
        ("hold-for-approval", json!({ "when": { "kinds": ["drop"] }, "approvers": ["group:dba"] }), false, false),
    ] {
        let fixture = Fixture::new();
        fixture.put(policy, &example(policy));
        fixture.bind(vec![binding(policy, Mode::Enforce, settings.clone())]);
        let mut session = fixture.open();
        let (ruling, flight) = ask(&mut session, &select());
        assert_eq!(ruling.denial, None);
        assert_eq!((session.may_mask(), flight.sees_results()), (masks, results), "{policy} {settings}");
    }
}

#[test]
fn a_module_that_breaks_its_fixtures_is_not_taken_until_they_hold() {
    let fixture = Fixture::new();
    let mut shipped = fixtures("sql-guard");
    shipped.push(json!({
        "about": "an example", "settings": { "deny": ["drop"] },
        "cases": [{ "about": "a read", "command": { "text": "x", "sql": { "classes": ["read"] } },
                    "expect": { "command": { "block": "no" } } }],
    }));
    ship(&fixture, "sql-guard", &shipped);
    fixture.put("sql-guard", &example("sql-guard"));
    fixture.bind(vec![binding("sql-guard", Mode::Enforce, json!({ "deny": ["drop"] }))]);
    let PolicyState::Rejected { reason } = fixture.status("sql-guard").state else { panic!("it was taken") };
    let told = "its fixture `an example` does not hold: case `a read`: about the command it said Allow, and \
                Block(\"no\") was expected";
    assert_eq!(reason, told);

    shipped.pop();
    ship(&fixture, "sql-guard", &shipped);
    fixture.wait("the better fixtures", |status| status.state == PolicyState::Active);
}
