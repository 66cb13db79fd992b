//! Runs fixtures against a policy, the way the gateway would ask it.

use std::{fmt, fs, path::Path};

use super::{
    Case, ExpectedCell, ExpectedPlan, ExpectedRows, ExpectedVerdict, Fixture, Plan, Planned, ResultFacts, ResultSet,
    Rows, Session,
};
use crate::{
    Cell, Classes, Column, Command, Events, Interests, Policy, ResultVerdict, RowsVerdict, Verdict, host, settings,
};

/// Why a fixture does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixtureError(String);

impl fmt::Display for FixtureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FixtureError {}

/// Runs every `*.json` of a folder and panics with all that does not hold, or if there is none.
#[allow(clippy::panic, reason = "this is how a test fails")]
pub fn assert_fixtures<P: Policy>(folder: impl AsRef<Path>) {
    if let Err(error) = run_fixtures::<P>(folder.as_ref()) {
        panic!("{error}");
    }
}

/// Runs every `*.json` of a folder. The error lists every file that does not hold.
pub fn run_fixtures<P: Policy>(folder: &Path) -> Result<(), FixtureError> {
    let refuse = |error: std::io::Error| FixtureError(format!("{}: {error}", folder.display()));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(refuse)? {
        paths.push(entry.map_err(refuse)?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    if paths.is_empty() {
        return Err(FixtureError(format!("{}: there is no fixture", folder.display())));
    }
    let mut wrong = Vec::new();
    for path in paths {
        let outcome = fs::read_to_string(&path).map_err(refuse).and_then(|text| run_fixture::<P>(&text));
        if let Err(error) = outcome {
            wrong.push(format!("{}: {error}", path.display()));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(FixtureError(wrong.join("\n"))) }
}

/// Runs one fixture, given as its text.
pub fn run_fixture<P: Policy>(text: &str) -> Result<(), FixtureError> {
    let mut fixture: Fixture = settings::parse(text).map_err(FixtureError)?;
    if fixture.session.protocol.is_empty() {
        "postgres".clone_into(&mut fixture.session.protocol);
    }
    host::imp::forget_counters();
    let mut policy = match (configure::<P>(&fixture.settings.to_string()), &fixture.refused) {
        (Ok(policy), None) => policy,
        (Err(error), Some(part)) if error.contains(part) && fixture.cases.is_empty() => return Ok(()),
        (Err(error), _) => return Err(FixtureError(format!("the settings are refused: {error}"))),
        (Ok(_), Some(_)) => return Err(FixtureError("the settings are not refused".to_owned())),
    };
    let interests = policy.interests();
    let opened = if interests.events.contains(Events::SESSION_OPENED) && of_protocol(&interests, &fixture.session) {
        policy.on_session_opened(&fixture.session)
    } else {
        Verdict::Allow
    };
    verdict("the session", &opened, &fixture.opened)?;
    host::imp::take_cited();
    for (index, case) in fixture.cases.into_iter().enumerate() {
        let about = case.about.clone();
        run_case(&mut policy, &interests, &fixture.session, case)
            .map_err(|error| FixtureError(format!("case {index} ({about}): {error}")))?;
    }
    Ok(())
}

/// Configures a policy as the gateway does, with a JSON object.
pub fn configure<P: Policy>(json: &str) -> Result<P, String> {
    P::configure(settings::parse(json)?)
}

fn run_case<P: Policy>(
    policy: &mut P,
    interests: &Interests,
    session: &Session,
    mut case: Case,
) -> Result<(), FixtureError> {
    if case.command.verb.is_empty() {
        "query".clone_into(&mut case.command.verb);
    }
    let asked = of_protocol(interests, session) && of_classes(interests, &case.command);
    let answer = if asked && interests.events.contains(Events::COMMAND) {
        policy.on_command(session, &case.command)
    } else {
        Verdict::Allow
    };
    verdict("the command", &answer, &case.expect.command)?;
    rule("the command", case.expect.rule.as_deref())?;
    // What is held runs once it is approved.
    let Some(facts) = case.result.filter(|_| !matches!(answer, Verdict::Block(_))) else {
        return Ok(());
    };
    let ResultFacts { statement, columns, rows } = facts;
    let result = ResultSet { statement, columns };
    let plan = Plan::default();
    let answer = if asked && interests.events.contains(Events::RESULT) {
        policy.on_result(session, &case.command, &result, &plan)
    } else {
        ResultVerdict::Proceed
    };
    let planned = plan.planned();
    let hides = !planned.masks.is_empty() || !planned.inspected.is_empty() || !planned.spared.is_empty();
    if hides && !interests.masks {
        let error =
            "the policy masks, inspects or spares a column, and its interests do not say so (`Interests::masking`)";
        return Err(FixtureError(error.to_owned()));
    }
    rule("the result", case.expect.result.rule.as_deref())?;
    result_holds(&result, &answer, &planned, &case.expect.result)?;
    let answer = if answer == ResultVerdict::Proceed && !planned.inspected.is_empty() {
        policy.on_rows(session, &result, &Rows::from_texts(&rows, &planned.inspected))
    } else {
        RowsVerdict::Pass
    };
    rule("the rows", case.expect.rows.rule.as_deref())?;
    rows_hold(&result, answer, case.expect.rows)
}

fn of_protocol(interests: &Interests, session: &Session) -> bool {
    interests.protocols.is_empty() || interests.protocols.contains(&session.protocol)
}

fn of_classes(interests: &Interests, command: &Command) -> bool {
    let wanted = interests.sql_classes | Classes::UNANALYSABLE;
    interests.sql_classes.is_empty() || command.sql.as_ref().is_none_or(|sql| sql.classes.intersects(wanted))
}

fn verdict(what: &str, said: &Verdict, expected: &ExpectedVerdict) -> Result<(), FixtureError> {
    let holds = match (said, expected) {
        (Verdict::Allow, ExpectedVerdict::Allow) => true,
        (Verdict::Block(reason), ExpectedVerdict::Block(part)) => reason.contains(part),
        (Verdict::Suspend(approval), ExpectedVerdict::Suspend(expected)) => expected.holds(approval),
        _ => false,
    };
    if holds { Ok(()) } else { Err(differs(what, said, expected)) }
}

/// Holds the rule that the policy named in its last event against the expected one, if one is expected.
fn rule(what: &str, expected: Option<&str>) -> Result<(), FixtureError> {
    let cited = host::imp::take_cited();
    if expected.is_none() || cited.as_deref() == expected {
        return Ok(());
    }
    Err(FixtureError(format!("about {what} the policy named the rule {cited:?}, expected was {expected:?}")))
}

fn result_holds(
    result: &ResultSet,
    said: &ResultVerdict,
    planned: &Planned,
    expected: &ExpectedPlan,
) -> Result<(), FixtureError> {
    if let ResultVerdict::Block(reason) = said {
        let holds = expected.block.as_ref().is_some_and(|part| reason.contains(part));
        return if holds { Ok(()) } else { Err(differs("the result", said, expected)) };
    }
    let mut masks = Vec::new();
    for (name, mask) in &expected.mask {
        masks.push((index(&result.columns, name)?, mask.clone()));
    }
    let inspected: Result<Vec<_>, _> = expected.inspect.iter().map(|name| index(&result.columns, name)).collect();
    let spared: Result<Vec<_>, _> = expected.spare.iter().map(|name| index(&result.columns, name)).collect();
    let mut wanted = Planned { masks, inspected: inspected?, spared: spared?, limit_rows: expected.limit_rows };
    let mut planned = planned.clone();
    for plan in [&mut wanted, &mut planned] {
        plan.masks.sort_by_key(|(column, _)| *column);
        plan.inspected.sort_unstable();
        plan.spared.sort_unstable();
    }
    if expected.block.is_none() && wanted == planned { Ok(()) } else { Err(differs("the result", &planned, expected)) }
}

fn rows_hold(result: &ResultSet, said: RowsVerdict, expected: ExpectedRows) -> Result<(), FixtureError> {
    let mut cells = match said {
        RowsVerdict::Block(reason) => {
            let holds = expected.block.as_ref().is_some_and(|part| reason.contains(part));
            return if holds { Ok(()) } else { Err(differs("the rows", &reason, &expected)) };
        }
        RowsVerdict::Mask(cells) => cells,
        RowsVerdict::Pass => Vec::new(),
    };
    let mut wanted = Vec::new();
    for ExpectedCell { row, column, mask } in &expected.cells {
        wanted.push(Cell { row: *row, column: index(&result.columns, column)?, mask: mask.clone() });
    }
    for cells in [&mut cells, &mut wanted] {
        cells.sort_by_key(|cell| (cell.row, cell.column));
    }
    if expected.block.is_none() && cells == wanted { Ok(()) } else { Err(differs("the rows", &cells, &expected)) }
}

fn index(columns: &[Column], name: &str) -> Result<u32, FixtureError> {
    let mut found = (0_u32..).zip(columns).filter(|(_, column)| column.name == name);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        _ => Err(FixtureError(format!("the fixture needs exactly one column `{name}`"))),
    }
}

fn differs(what: &str, said: &dyn fmt::Debug, expected: &dyn fmt::Debug) -> FixtureError {
    FixtureError(format!("about {what} the policy said {said:?}, expected was {expected:?}"))
}
