//! A small policy that uses every handler, driven by fixtures that hold and by fixtures that do not.

use std::time::Duration;

use serde::Deserialize;
use sluicegate_policy::{
    Approval, Cell, Classes, Command, Events, Interests, Mask, Plan, Policy, ResultSet, ResultVerdict, Rows,
    RowsVerdict, Session, Verdict, host,
    testing::{FixtureError, run_fixture},
};

#[derive(Deserialize)]
struct Settings {
    limit: i64,
    #[serde(default)]
    secretive: bool,
}

/// Lets each session write `limit` times, holds what is opaque, and masks what reads `secret`.
struct Sample {
    limit: i64,
    secretive: bool,
}

impl Policy for Sample {
    const NAME: &'static str = "sample";
    const VERSION: &'static str = "1.0.0";
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        let Settings { limit, secretive } = settings;
        if limit < 0 { Err("`limit` is negative".into()) } else { Ok(Self { limit, secretive }) }
    }

    fn interests(&self) -> Interests {
        let interests = Interests::in_events(Events::SESSION_OPENED | Events::COMMAND | Events::RESULT)
            .of_protocols(["postgres"])
            .of_sql_classes(Classes::READ | Classes::DML | Classes::OPAQUE);
        if self.secretive { interests } else { interests.masking() }
    }

    fn on_session_opened(&mut self, session: &Session) -> Verdict {
        if session.has_group("staff") { Verdict::Allow } else { Verdict::block("staff only") }
    }

    fn on_command(&mut self, _: &Session, command: &Command) -> Verdict {
        let Some(sql) = command.sql() else { return Verdict::Allow };
        let classes = sql.classes();
        if classes.intersects(Classes::OPAQUE | Classes::UNANALYSABLE | Classes::DDL) {
            host::cite("opaque");
            return Approval::new("a person has to look")
                .by(["group:dba"])
                .remembered_for(Duration::from_millis(1500))
                .into();
        }
        if classes.contains(Classes::DML) && host::counter_add("writes", 1) > self.limit {
            return Verdict::block(format!("more than {} writes", self.limit));
        }
        Verdict::Allow
    }

    fn on_result(&mut self, _: &Session, _: &Command, result: &ResultSet, plan: &Plan) -> ResultVerdict {
        for (index, column) in (0..).zip(result.columns()) {
            match column.type_name.as_str() {
                "text" => plan.inspect(index),
                "bytea" => return ResultVerdict::block("no binary"),
                _ => plan.mask(index, &Mask::Partial(2)),
            }
        }
        plan.limit_rows(10);
        ResultVerdict::Proceed
    }

    fn on_rows(&mut self, _: &Session, _: &ResultSet, rows: &Rows) -> RowsVerdict {
        let mut cells = Vec::new();
        for values in rows.columns() {
            for (row, value) in (0..).zip(values.iter()) {
                match value {
                    Some(b"secret") => cells.push(Cell { row, column: values.column, mask: Mask::Redact }),
                    Some(b"fatal") => return RowsVerdict::block("fatal"),
                    _ => {}
                }
            }
        }
        RowsVerdict::Mask(cells)
    }
}

sluicegate_policy::export!(Sample);

fn run(cases: &str) -> Result<(), FixtureError> {
    run_fixture::<Sample>(&format!(
        r#"{{"settings": {{"limit": 1}}, "session": {{"groups": ["staff"]}}, "cases": [{cases}]}}"#
    ))
}

const WRITE: &str = r#""command": {"sql": {"classes": ["dml"]}}"#;
const READ: &str = r#""command": {"sql": {"classes": ["read"]}}"#;
const RESULT: &str = r#""result": {
    "columns": [
        {"name": "id", "type": "int4", "resolution": "computed"},
        {"name": "note", "resolution": "stored", "sources": ["public.t.note"]}
    ],
    "rows": [["1", "secret"], ["2", null], ["3", ""], ["4", "secret"]]
}"#;
const PLAN: &str = r#""result": {"mask": {"id": {"partial": 2}}, "inspect": ["note"], "limit_rows": 10}"#;

#[test]
fn commands_are_asked_in_order_and_counters_last() {
    run(&format!(r#"{{{WRITE}}}, {{{WRITE}, "expect": {{"command": {{"block": "more than 1"}}}}}}"#)).unwrap();
    let error = run(&format!("{{{WRITE}}}, {{{WRITE}}}")).unwrap_err().to_string();
    assert!(error.starts_with("case 1") && error.contains("more than 1 writes"), "{error}");
}

#[test]
fn a_policy_is_asked_only_what_interests_it() {
    // DDL is not among its classes, what is unanalysable always is.
    run(r#"{"command": {"sql": {"classes": ["ddl"]}}}"#).unwrap();
    run(r#"{"command": {"sql": {"classes": ["unanalysable"]}}, "expect": {"command": {"suspend": "a person"}}}"#)
        .unwrap();
    run_fixture::<Sample>(r#"{"settings": {"limit": 0}, "session": {"protocol": "mysql"}}"#).unwrap();
}

#[test]
fn results_and_rows_hold_exactly() {
    let cells = r#"[{"row": 3, "column": "note", "mask": "redact"}, {"row": 0, "column": "note", "mask": "redact"}]"#;
    run(&format!(r#"{{{READ}, {RESULT}, "expect": {{{PLAN}, "rows": {{"cells": {cells}}}}}}}"#)).unwrap();
    for wrong in [
        PLAN.to_owned(),
        format!(r#"{PLAN}, "rows": {{"block": ""}}"#),
        format!(r#"{PLAN}, "rows": {{"cells": [{{"row": 0, "column": "note", "mask": "redact"}}]}}"#),
        format!(r#"{PLAN}, "rows": {{"cells": [{{"row": 0, "column": "nota", "mask": "redact"}}]}}"#),
        r#""result": {"inspect": ["note"], "limit_rows": 10}"#.to_owned(),
        r#""result": {"block": ""}"#.to_owned(),
        r#""command": {"block": ""}"#.to_owned(),
    ] {
        assert!(run(&format!("{{{READ}, {RESULT}, \"expect\": {{{wrong}}}}}")).is_err(), "{wrong}");
    }
}

#[test]
fn a_policy_that_masks_has_to_say_so_first() {
    let error = run_fixture::<Sample>(&format!(
        r#"{{"settings": {{"limit": 1, "secretive": true}}, "session": {{"groups": ["staff"]}},
            "cases": [{{{READ}, {RESULT}, "expect": {{{PLAN}}}}}]}}"#
    ));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`Interests::masking`"), "{error}");
}

#[test]
fn blocks_are_expected_by_a_part_of_their_reason() {
    let binary = r#""result": {"columns": [{"name": "x", "type": "bytea", "resolution": "computed"}]}"#;
    run(&format!(r#"{{{READ}, {binary}, "expect": {{"result": {{"block": "binary"}}}}}}"#)).unwrap();
    assert!(run(&format!(r#"{{{READ}, {binary}, "expect": {{"result": {{"block": "other"}}}}}}"#)).is_err());
    let fatal = r#""result": {"columns": [{"name": "x", "resolution": "computed"}], "rows": [["fatal"]]}"#;
    let plan = r#""result": {"inspect": ["x"], "limit_rows": 10}"#;
    run(&format!(r#"{{{READ}, {fatal}, "expect": {{{plan}, "rows": {{"block": "fatal"}}}}}}"#)).unwrap();
}

#[test]
fn sessions_and_settings_are_expected() {
    let run = run_fixture::<Sample>;
    run(r#"{"settings": {"limit": 0}, "opened": {"block": "staff"}}"#).unwrap();
    assert!(run(r#"{"settings": {"limit": 0}}"#).is_err());
    run(r#"{"settings": {"limit": -1}, "refused": "negative"}"#).unwrap();
    run(r#"{"settings": {"limit": 1, "limits": 2}, "refused": "there is no field `limits`"}"#).unwrap();
    run(r#"{"settings": {}, "refused": "missing field `limit`"}"#).unwrap();
    assert!(run(r#"{"settings": {"limit": 1}, "refused": "negative"}"#).is_err());
    assert!(run(r#"{"settings": {"limit": 1}, "case": []}"#).is_err());
}
