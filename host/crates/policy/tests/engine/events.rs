//! What policies are asked, what they may answer, and how the answers of several come together.

use std::sync::{Arc, Mutex};

use serde_json::json;
use sluicegate_core::{
    CellMask, Command, DenialKind, Mask,
    policy::{Mode, Opinion, PolicySession},
    sql::Classes,
};

use crate::support::*;

fn said(opinions: &[Opinion]) -> Vec<(&str, &str)> {
    opinions.iter().map(|opinion| (&*opinion.said, opinion.reason.as_str())).collect()
}

#[test]
fn a_policy_allows_and_blocks() {
    let fixture = Fixture::probing(json!({ "command": "not now", "only": "drop" }));
    let mut session = fixture.open();
    let opened = session.opened();
    assert_eq!((opened.denial, said(&opened.opinions)), (None, vec![("allow", "")]));
    let (ruling, _) = ask(&mut session, &select());
    assert_eq!((ruling.denial, said(&ruling.opinions)), (None, vec![("allow", "")]));
    let (ruling, _) = ask(&mut session, &command("drop table people", Classes::DDL));
    let denial = ruling.denial.clone().unwrap();
    assert_eq!((denial.kind, denial.policy.as_deref()), (DenialKind::Policy, Some("probe")));
    assert_eq!(denial.reason, "not now");
    assert_eq!(ruling.opinions.len(), 1);
    assert_eq!(*ruling.opinions[0].digest, *fixture.status("probe").digest);
    session.closed();
}

#[test]
fn a_policy_refuses_a_session() {
    let fixture = Fixture::probing(json!({ "opened": "go away," }));
    assert_eq!(reason(&fixture.open().opened()), "go away, alice");
}

#[test]
fn every_fact_is_read_as_it_is() {
    let fixture = Fixture::probing(json!({ "command": "everything" }));
    let (ruling, _) = ask(&mut fixture.open(), &select());
    let said = reason(&ruling);
    for fact in [
        "00000000-0000-0000-0000-000000000000 | alice | orders | postgres | 127.0.0.1:5000 | psql",
        "engineering+eu | true false | IdentityKind::Agent Some(\"olga\") Some(\"bot\") | reader+writer true false | 1 | query | select * from people | select ? | public.people",
        "Some(\"seven\") | None | None | None",
        "Classes(READ) [\"select\"] 1",
        "access: Access(READ), known: true, indirect: false",
        "column: \"note\"",
        "Usage(OUTPUT | FILTER)",
        "schema: \"pg_catalog\", name: \"lower\", builtin: true",
        "true None",
    ] {
        assert!(said.contains(fact), "{fact} is not in {said}");
    }
}

#[test]
fn a_policy_that_is_not_interested_is_not_asked() {
    let fixture = Fixture::new();
    fixture.put("narrow", &narrow());
    fixture.bind(vec![binding("narrow", Mode::Enforce, json!({}))]);
    let mut session = fixture.open();
    assert!(!session.may_mask());
    assert!(ask(&mut session, &select()).0.denial.is_none());
    let (ruling, flight) = ask(&mut session, &command("delete from people", Classes::DML));
    assert_eq!(reason(&ruling), "narrow blocks writes");
    assert!(!flight.sees_results());
    assert!(ask(&mut session, &command("?", Classes::UNANALYSABLE)).0.denial.is_some());
}

#[test]
fn what_a_policy_wants_depends_on_its_settings() {
    for (settings, masks, results) in [
        (json!({}), false, true),
        (json!({ "limit": 5 }), false, true),
        (json!({ "mask": [[2, "hash"]] }), true, true),
        (json!({ "inspect": [3] }), true, true),
        (json!({ "no_results": true }), false, false),
        (json!({ "no_results": true, "mask": [[2, "hash"]] }), false, false),
    ] {
        let fixture = Fixture::probing(settings.clone());
        let mut session = fixture.open();
        assert_eq!(session.may_mask(), masks, "{settings}");
        assert_eq!(ask(&mut session, &select()).1.sees_results(), results, "{settings}");
        fixture.bind(vec![binding("probe", Mode::Monitor, settings.clone())]);
        let mut session = fixture.open();
        assert!(!session.may_mask(), "{settings}");
        assert_eq!(ask(&mut session, &select()).1.sees_results(), results, "{settings}");
    }
}

#[test]
fn a_policy_that_did_not_say_that_it_masks_cannot() {
    for settings in [
        json!({ "secretive": true, "mask": [[2, "redact"]] }),
        json!({ "secretive": true, "inspect": [2], "rows": "secret" }),
        json!({ "secretive": true, "spare": [2] }),
    ] {
        let fixture = Fixture::probing(settings.clone());
        let mut session = fixture.open();
        assert!(!session.may_mask());
        let (_, mut flight) = ask(&mut session, &select());
        let ruling = flight.result(&schema());
        assert!(ruling.plan.is_pass(), "{settings}");
        let denial = ruling.denial.unwrap();
        assert_eq!(denial.kind, DenialKind::PolicyFailure);
        assert_eq!(
            denial.reason,
            "the policy failed: it asked for something that it may not have: it masks, inspects or spares a column, \
             and the interests that it answered to `configure` do not say `masks`"
        );
    }
}

#[test]
fn masks_of_several_policies_accumulate_and_monitoring_changes_nothing() {
    let fixture = Fixture::new();
    fixture.put("probe", &probe());
    fixture.put("second", &renamed(probe(), "second"));
    fixture.bind(vec![
        binding("probe", Mode::Enforce, json!({ "mask": [[2, "partial"], [1, "hash"]], "limit": 9 })),
        binding("second", Mode::Enforce, json!({ "mask": [[2, "redact"]], "limit": 7 })),
        binding("second", Mode::Monitor, json!({ "mask": [[0, "null"]], "limit": 1, "command": "never" })),
    ]);
    let mut session = fixture.open();
    assert!(session.may_mask());
    let (ruling, mut flight) = ask(&mut session, &select());
    assert_eq!(ruling.denial, None);
    assert_eq!(said(&ruling.opinions), [("allow", ""), ("allow", ""), ("block", "never")]);
    assert_eq!(ruling.opinions[2].mode, Mode::Monitor);
    assert!(flight.sees_results());
    let ruling = flight.result(&schema());
    assert_eq!(ruling.denial, None);
    let masks: Vec<_> = ruling.plan.columns.iter().map(|c| c.mask.clone()).collect();
    assert_eq!(masks, [None, Some(Mask::Hash), Some(Mask::Redact), None]);
    assert_eq!(ruling.plan.max_rows, Some(7));
    let said: Vec<_> = ruling.opinions.iter().map(|o| (o.mode, &*o.said, o.reason.as_str())).collect();
    assert_eq!(
        said,
        [
            (Mode::Enforce, "mask", "name: hash, ssn: partial 4"),
            (Mode::Enforce, "limit", "at most 9 rows"),
            (Mode::Enforce, "mask", "ssn: redact"),
            (Mode::Enforce, "limit", "at most 7 rows"),
            (Mode::Monitor, "mask", "id: null"),
            (Mode::Monitor, "limit", "at most 1 rows"),
        ]
    );
}

#[test]
fn each_policy_sees_the_columns_that_it_asked_for_and_no_other() {
    let fixture = Fixture::new();
    fixture.put("probe", &probe());
    fixture.bind(vec![
        binding("probe", Mode::Enforce, json!({ "inspect": [3], "rows": "secret" })),
        binding("probe", Mode::Monitor, json!({ "inspect": [1], "rows": "block" })),
    ]);
    let (_, mut flight) = ask(&mut fixture.open(), &select());
    let plan = flight.result(&schema()).plan;
    assert_eq!(plan.columns.iter().map(|c| c.inspect).collect::<Vec<_>>(), [false, true, false, true]);
    let rows = batch(&[(1, &["secret", "b", "c"]), (3, &["x", "secret", ""])]);
    let ruling = flight.rows(&rows);
    assert_eq!(ruling.denial, None);
    assert_eq!(ruling.cells, [CellMask { row: 1, column: 3, mask: Mask::Redact }]);
    let said: Vec<_> = ruling.opinions.iter().map(|o| (o.mode, o.reason.as_str())).collect();
    assert_eq!(said, [(Mode::Enforce, "values of note: redact"), (Mode::Monitor, "columns [1]")]);
    let passed = flight.rows(&batch(&[(1, &["a"]), (3, &["b"])]));
    assert_eq!(passed.opinions[0].said, "allow");
}

#[test]
fn nonsense_blocks() {
    for (settings, expected) in [
        (json!({ "inspect": [3], "rows": "other column" }), "row 0 of column 0, which it was not shown"),
        (json!({ "inspect": [3], "rows": "other row" }), "row 2 of column 3, which it was not shown"),
        (json!({ "inspect": [3], "rows": "trap" }), "the policy failed: it crashed"),
        (json!({ "inspect": [3], "rows": "block" }), "columns [3]"),
    ] {
        let fixture = Fixture::probing(settings);
        let (_, mut flight) = ask(&mut fixture.open(), &select());
        assert_eq!(flight.result(&schema()).denial, None);
        let denial = flight.rows(&batch(&[(0, &["a", "b"]), (3, &["c", "d"])])).denial.unwrap();
        assert!(denial.reason.contains(expected), "{}", denial.reason);
    }
    for settings in
        [json!({ "inspect": [4] }), json!({ "mask": [[4, "redact"]] }), json!({ "mask": [[0, "hash"]], "spare": [4] })]
    {
        let fixture = Fixture::probing(settings);
        let (_, mut flight) = ask(&mut fixture.open(), &select());
        let denial = flight.result(&schema()).denial.unwrap();
        assert_eq!(denial.kind, DenialKind::PolicyFailure);
        assert!(denial.reason.ends_with("column 4 was named, but the result has 4"), "{}", denial.reason);
    }
}

#[test]
fn counters_are_shared_by_sessions_and_outlive_instances() {
    let fixture = Fixture::probing(json!({ "command": "count" }));
    let (mut one, mut two) = (fixture.open(), fixture.open());
    assert_eq!(reason(&ask(&mut one, &select()).0), "1");
    assert_eq!(reason(&ask(&mut two, &select()).0), "2");
    fixture.put("probe", &renamed(probe(), "next"));
    let before = fixture.status("probe").digest;
    fixture.wait("the new file", |status| status.digest != before);
    assert_eq!(reason(&ask(&mut one, &select()).0), "3");
}

#[test]
fn a_session_at_rest_has_no_instances_and_starts_them_again() {
    let fixture = Fixture::probing(json!({ "command": "asked" }));
    let mut session = fixture.open();
    assert_eq!(reason(&ask(&mut session, &select()).0), "1");
    assert_eq!(reason(&ask(&mut session, &select()).0), "2");
    session.rest();
    assert_eq!(reason(&ask(&mut session, &select()).0), "1");
}

/// What the thread logs meanwhile.
fn logged(run: impl FnOnce()) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Mutex::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, run);
    std::fs::read_to_string(log.path()).unwrap()
}

#[test]
fn a_policys_log_lines_are_one_line_of_a_kilobyte_under_its_name() {
    let fixture = Fixture::probing(json!({ "command": "log" }));
    let mut session = fixture.open();
    let log = logged(|| assert!(ask(&mut session, &select()).0.denial.is_none()));
    let line = log.lines().find(|line| line.contains("x x x")).expect("the line is not in the log");
    assert!(line.contains(" INFO policy: ") && line.contains("policy=\"probe\""), "{line}");
    assert_eq!(line.matches("x ").count(), 512);
}

#[test]
fn a_target_that_was_never_bound_is_blocked() {
    let fixture = Fixture::new();
    let mut session: Box<dyn PolicySession> = fixture.open();
    assert!(session.may_mask());
    assert!(session.opened().denial.is_some());
    assert!(ask(&mut session, &select()).0.denial.is_some());
    fixture.bind(Vec::new());
    assert!(ask(&mut session, &select()).0.denial.is_none());
}

#[test]
fn a_policy_is_not_asked_twice_about_what_it_cannot_tell_apart() {
    let mut session = Fixture::probing(json!({ "command": "first" })).open();
    let run = |command: &Arc<Command>, text: &str| Arc::new(Command { text: text.into(), ..(**command).clone() });
    let (select, other) = (select(), command("select ? from other", Classes::READ));
    assert_eq!(ask(&mut session, &select).0.denial, None);
    let (again, _) = ask(&mut session, &run(&select, "select * from people where id = 2"));
    assert_eq!((again.denial, said(&again.opinions)), (None, vec![("allow", "")]));
    assert_eq!(again.opinions[0].micros, 0, "what is remembered takes no time");
    for command in [other, Arc::new(Command { verb: "execute", ..(*select).clone() })] {
        assert_eq!(reason(&ask(&mut session, &command).0), "asked again");
    }
    assert_eq!(ask(&mut session, &select).0.denial, None, "a refusal of another command changes nothing");
}

#[test]
fn what_a_policy_decides_by_the_text_or_by_counting_is_decided_each_time() {
    for settings in [json!({ "command": "first", "only": "people" }), json!({ "command": "first", "counts": true })] {
        let mut session = Fixture::probing(settings).open();
        let select = select();
        assert_eq!(ask(&mut session, &select).0.denial, None);
        assert_eq!(reason(&ask(&mut session, &select).0), "asked again");
    }
}
