//! What policies ask of people, the rules that they name, and the exceptions that they make.

use serde_json::json;
use sluicegate_core::{DenialKind, Principal, Requirement, policy::Mode, sql::Classes};

use crate::support::*;

fn suspending(approvers: &[&str]) -> Fixture {
    Fixture::probing(json!({ "command": "suspend", "cite": "when[0]", "approvers": approvers }))
}

#[test]
fn what_a_policy_asks_of_people_is_required() {
    let settings = json!({ "command": "suspend", "cite": "when[0]", "approvers": ["group:dba", "user:olga"],
                           "expires_in": 90, "remember": 60 });
    let fixture = Fixture::probing(settings);
    let (ruling, _) = ask(&mut fixture.open(), &select());
    assert_eq!(ruling.denial, None);
    let required = Requirement {
        policy: "probe".to_owned(),
        module: fixture.status("probe").digest,
        rule: Some("when[0]".to_owned()),
        reason: "a second pair of eyes".to_owned(),
        approvers: vec![Principal::Group("dba".to_owned()), Principal::User("olga".to_owned())],
        min_approvals: 2,
        reason_required: true,
        expires_in: Some(90),
        remember: Some(60),
    };
    assert_eq!(ruling.requirements, [required]);
    let opinion = &ruling.opinions[0];
    assert_eq!((&*opinion.said, opinion.reason.as_str()), ("suspend", "a second pair of eyes"));
    assert_eq!(opinion.rule.as_deref(), Some("when[0]"));
}

#[test]
fn approvers_that_make_no_sense_block() {
    let many: Vec<_> = (0..65).map(|n| format!("user:u{n}")).collect();
    for (approvers, told) in [
        (vec!["dba"], "it names `dba` as an approver, which is no `user:NAME` or `group:NAME`"),
        (vec!["user:olga"], "it wants 2 approvals and names 1 users who may give them"),
        (many.iter().map(String::as_str).collect(), "it names 65 approvers, and the most is 64"),
    ] {
        let (ruling, _) = ask(&mut suspending(&approvers).open(), &select());
        let denial = ruling.denial.unwrap();
        assert_eq!(denial.kind, DenialKind::PolicyFailure);
        assert_eq!(denial.reason, format!("the policy failed: it answered nonsense: {told}"));
        assert_eq!((ruling.requirements, ruling.opinions[0].rule.as_deref()), (Vec::new(), None));
    }
}

#[test]
fn of_several_policies_a_block_is_stricter_and_a_monitored_one_asks_for_nothing() {
    let fixture = Fixture::new();
    fixture.put("probe", &probe());
    let suspend = || json!({ "command": "suspend", "approvers": ["group:dba"] });
    let told = |bindings| {
        fixture.bind(bindings);
        let (ruling, _) = ask(&mut fixture.open(), &command("drop", Classes::DDL));
        let said: Vec<_> = ruling.opinions.iter().map(|o| o.said.clone()).collect();
        (ruling.denial.is_some(), ruling.requirements.len(), said.join(" "))
    };
    let enforced = |settings| binding("probe", Mode::Enforce, settings);
    let block = enforced(json!({ "command": "no" }));
    assert_eq!(told(vec![enforced(suspend()), enforced(suspend())]), (false, 2, "suspend suspend".to_owned()));
    assert_eq!(told(vec![enforced(suspend()), block]), (true, 0, "suspend block".to_owned()));
    let monitored = binding("probe", Mode::Monitor, suspend());
    assert_eq!(told(vec![monitored, enforced(json!({}))]), (false, 0, "suspend allow".to_owned()));
}

#[test]
fn the_opening_of_a_session_cannot_be_held() {
    let fixture = Fixture::probing(json!({ "opened": "suspend" }));
    let ruling = fixture.open().opened();
    assert_eq!(reason(&ruling), "not without a word; a session's opening cannot be held");
    assert!(ruling.requirements.is_empty());
}

#[test]
fn a_rule_is_named_anew_for_each_event_and_cut_to_one_short_line() {
    let long = format!("deny[2]\n{}", "x".repeat(200));
    let fixture = Fixture::probing(json!({ "cite": long, "only": "drop", "inspect": [0] }));
    let mut session = fixture.open();
    let (ruling, mut flight) = ask(&mut session, &command("drop", Classes::DDL));
    let rule = ruling.opinions[0].rule.clone().unwrap();
    assert_eq!((rule.len(), rule.starts_with("deny[2] xxx")), (128, true));
    assert_eq!(flight.result(&schema()).opinions[0].rule, None);
    assert_eq!(ask(&mut session, &select()).0.opinions[0].rule, None);
}

#[test]
fn the_time_of_a_call_is_noted_once() {
    let fixture = Fixture::probing(json!({ "command": "busy 10000000", "mask": [[0, "hash"]], "limit": 3 }));
    let (ruling, mut flight) = ask(&mut fixture.open(), &select());
    // Ten million rounds take longer than the start of an instance does.
    assert!(ruling.opinions[0].micros > 500, "{:?}", ruling.opinions);
    let said = flight.result(&schema()).opinions;
    assert_eq!((said.len(), said[1].micros), (2, 0), "{said:?}");
}

#[test]
fn columns_that_are_spared_are_in_the_plan_and_the_record() {
    let fixture = Fixture::new();
    fixture.put("probe", &probe());
    fixture.bind(vec![
        binding("probe", Mode::Enforce, json!({ "spare": [2, 3] })),
        binding("probe", Mode::Monitor, json!({ "spare": [0], "inspect": [1], "rows": "x" })),
    ]);
    let (_, mut flight) = ask(&mut fixture.open(), &select());
    let ruling = flight.result(&schema());
    assert_eq!(ruling.plan.columns.iter().map(|c| c.spare).collect::<Vec<_>>(), [false, false, true, true]);
    let said: Vec<_> = ruling.opinions.iter().map(|o| (&*o.said, o.reason.as_str())).collect();
    assert_eq!(said, [("allow", "clear by exception: ssn, note"), ("allow", "clear by exception: id")]);
}

#[test]
fn a_session_is_outdated_when_another_chain_would_decide() {
    let fixture = Fixture::probing(json!({}));
    let mut session = fixture.open();
    ask(&mut session, &select());
    assert!(!session.is_outdated());
    // A new generation in which this target has the same policies.
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({}))]);
    assert!(!session.is_outdated());
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({ "command": "no" }))]);
    assert!(session.is_outdated());
    ask(&mut session, &select());
    assert!(!session.is_outdated());
}
