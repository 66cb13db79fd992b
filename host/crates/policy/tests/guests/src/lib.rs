//! A policy whose settings say how it behaves: it answers, reads facts, masks, or misbehaves.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "to crash is what the tests ask of it")]

use std::{hint::black_box, time::Duration};

use serde::Deserialize;
use sluicegate_policy::{
    Approval, Cell, Classes, Command, Events, Interests, Level, Mask, Plan, Policy, ResultSet, ResultVerdict, Rows,
    RowsVerdict, Session, Verdict, host,
};

#[derive(Deserialize)]
#[serde(default)]
struct Probe {
    opened: String,
    command: String,
    /// A rule that it names whenever it is asked.
    cite: String,
    /// Misbehave only where the command's text contains this.
    only: String,
    mask: Vec<(u32, String)>,
    inspect: Vec<u32>,
    spare: Vec<u32>,
    limit: Option<u64>,
    rows: String,
    refuse: String,
    /// Who may approve where it suspends, twice.
    approvers: Vec<String>,
    /// For how many seconds the request then stands, and an approval covers more.
    expires_in: u32,
    remember: u32,
    /// Does not ask about results.
    no_results: bool,
    /// Keeps to itself that it masks.
    secretive: bool,
    /// Counts each command.
    counts: bool,
    /// How often it was asked about a command: what the contract forbids it to decide by.
    #[serde(skip)]
    asked: u32,
}

impl Default for Probe {
    fn default() -> Self {
        let (opened, command, cite, only, mask, inspect, spare, limit) = Default::default();
        let (rows, refuse, approvers, expires_in, remember) = Default::default();
        let (no_results, secretive, counts, asked) = Default::default();
        Self {
            opened,
            command,
            cite,
            only,
            mask,
            inspect,
            spare,
            limit,
            rows,
            refuse,
            approvers,
            expires_in,
            remember,
            no_results,
            secretive,
            counts,
            asked,
        }
    }
}

impl Policy for Probe {
    const NAME: &'static str = "probe";
    const VERSION: &'static str = "1.0.0";
    const SETTINGS_SCHEMA: &'static str = r#"{"type": "object"}"#;
    type Settings = Self;

    fn configure(settings: Self) -> Result<Self, String> {
        if settings.refuse.is_empty() { Ok(settings) } else { Err(settings.refuse) }
    }

    fn interests(&self) -> Interests {
        let events = if self.no_results { Events::all() - Events::RESULT } else { Events::all() };
        let hides = !self.mask.is_empty() || !self.inspect.is_empty() || !self.spare.is_empty();
        if hides && !self.secretive { Interests::in_events(events).masking() } else { Interests::in_events(events) }
    }

    fn on_session_opened(&mut self, session: &Session) -> Verdict {
        host::counter_add("opened", 1);
        match self.opened.as_str() {
            "" => Verdict::Allow,
            "suspend" => Approval::new("not without a word").into(),
            text => Verdict::Block(format!("{text} {}", session.user())),
        }
    }

    fn on_command(&mut self, session: &Session, command: &Command) -> Verdict {
        self.asked += 1;
        if !self.only.is_empty() && !command.text().contains(&self.only) {
            return Verdict::Allow;
        }
        if !self.cite.is_empty() {
            host::cite(&self.cite);
        }
        if self.counts {
            host::counter_add("commands", 1);
        }
        match self.command.as_str() {
            "" => Verdict::Allow,
            "first" if self.asked == 1 => Verdict::Allow,
            "first" => Verdict::block("asked again"),
            "trap" => black_box(None::<Verdict>).expect("the settings ask for a trap"),
            "loop" => loop {
                black_box(());
            },
            "memory" => loop {
                black_box(Box::leak(vec![1_u8; 1 << 20].into_boxed_slice()));
            },
            "counters" => {
                for n in 0..2000 {
                    host::counter_add(&format!("counter {n}"), 1);
                }
                Verdict::Allow
            }
            "count" => Verdict::Block(host::counter_add("seen", 1).to_string()),
            "asked" => Verdict::Block(self.asked.to_string()),
            "log" => {
                host::log(Level::Info, &"x\n".repeat(2000));
                Verdict::Allow
            }
            "classes" => {
                black_box(command.sql().is_some_and(|sql| sql.classes().contains(Classes::DDL)));
                Verdict::Allow
            }
            "everything" => Verdict::Block(everything(session, command)),
            "glance" => {
                glance(session, command);
                Verdict::Allow
            }
            busy if busy.starts_with("busy ") => {
                for n in 0..busy[5..].parse::<u64>().unwrap_or(0) {
                    black_box(n);
                }
                Verdict::Allow
            }
            "suspend" => {
                let asked = Approval::new("a second pair of eyes").by(&self.approvers).at_least(2).with_note();
                let seconds = |count: u32| Duration::from_secs(count.into());
                asked.expiring_after(seconds(self.expires_in)).remembered_for(seconds(self.remember)).into()
            }
            text => Verdict::Block(text.into()),
        }
    }

    fn on_result(&mut self, _: &Session, _: &Command, _: &ResultSet, plan: &Plan) -> ResultVerdict {
        for (column, mask) in &self.mask {
            plan.mask(*column, &named(mask));
        }
        for column in &self.inspect {
            plan.inspect(*column);
        }
        for column in &self.spare {
            plan.spare(*column);
        }
        if let Some(rows) = self.limit {
            plan.limit_rows(rows);
        }
        ResultVerdict::Proceed
    }

    fn on_rows(&mut self, _: &Session, _: &ResultSet, rows: &Rows) -> RowsVerdict {
        let columns = rows.columns();
        match self.rows.as_str() {
            "trap" => black_box(None::<RowsVerdict>).expect("the settings ask for a trap"),
            "other column" => RowsVerdict::Mask(vec![Cell { row: 0, column: 0, mask: Mask::Redact }]),
            "other row" => {
                let cell = |column| Cell { row: rows.row_count(), column, mask: Mask::Redact };
                RowsVerdict::Mask(self.inspect.iter().map(|column| cell(*column)).collect())
            }
            "block" => {
                RowsVerdict::Block(format!("columns {:?}", columns.iter().map(|c| c.column).collect::<Vec<_>>()))
            }
            needle => {
                let mut cells = Vec::new();
                for values in &columns {
                    for (row, span) in values.offsets.windows(2).enumerate() {
                        let value = &values.bytes[span[0] as usize..span[1] as usize];
                        if !needle.is_empty() && value == needle.as_bytes() {
                            cells.push(Cell { row: row as u32, column: values.column, mask: Mask::Redact });
                        }
                    }
                }
                if cells.is_empty() { RowsVerdict::Pass } else { RowsVerdict::Mask(cells) }
            }
        }
    }

    fn on_session_closed(&mut self, _: &Session) {
        host::counter_add("closed", 1);
    }
}

fn named(mask: &str) -> Mask {
    match mask {
        "null" => Mask::Null,
        "hash" => Mask::Hash,
        "partial" => Mask::Partial(4),
        "email" => Mask::Email,
        _ => Mask::Redact,
    }
}

/// Reads every fact there is.
fn glance(session: &Session, command: &Command) {
    black_box((session.id(), session.user(), session.target(), session.protocol(), session.client_address()));
    black_box((session.application(), session.groups(), session.has_group("engineering")));
    black_box((session.kind(), session.owner(), session.actor(), session.roles(), session.has_role("reader")));
    black_box((command.sequence(), command.verb(), command.text(), command.normalized_text(), command.resources()));
    for index in 0..command.parameter_count() {
        black_box(command.parameter(index));
    }
    if let Some(sql) = command.sql() {
        black_box((sql.classes(), sql.kinds(), sql.statement_count(), sql.relations(), sql.reachable_columns()));
        black_box((sql.reaches_unknown(), sql.columns(), sql.functions(), sql.writes_without_where()));
        black_box(sql.unanalysable_reason());
    }
}

/// Reads every fact there is, and says it.
fn everything(session: &Session, command: &Command) -> String {
    let mut said = vec![session.id(), session.user(), session.target(), session.protocol()];
    said.extend([session.client_address(), session.application(), session.groups().join("+")]);
    said.push(format!("{} {}", session.has_group("engineering"), session.has_group("admin")));
    said.push(format!("{:?} {:?} {:?}", session.kind(), session.owner(), session.actor()));
    said.push(format!("{} {} {}", session.roles().join("+"), session.has_role("reader"), session.has_role("dba")));
    said.extend([command.sequence().to_string(), command.verb(), command.text(), command.normalized_text()]);
    said.push(command.resources().join("+"));
    for index in 0..=command.parameter_count() {
        said.push(format!("{:?}", command.parameter(index)));
    }
    if let Some(sql) = command.sql() {
        said.push(format!("{:?} {:?} {}", sql.classes(), sql.kinds(), sql.statement_count()));
        said.push(format!("{:?}", sql.relations()));
        said.push(format!("{:?} {:?}", sql.reachable_columns(), sql.reaches_unknown()));
        said.push(format!("{:?} {:?}", sql.columns(), sql.functions()));
        said.push(format!("{:?} {:?}", sql.writes_without_where(), sql.unanalysable_reason()));
    }
    said.join(" | ")
}

sluicegate_policy::export!(Probe);
