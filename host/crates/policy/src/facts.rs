//! What a policy may read and say during a call: the contract's imports, answered from the call's
//! own facts. Nothing is converted before it is asked for, and nothing here waits.

use sluicegate_core::{Command, ResultSchema, Session, command::Parameter, identity::Kind, sql::SqlFacts};
use wasmtime::{Result, component::Resource};

use crate::{
    contract::{
        CommandHandle, PlanHandle, ResultHandle, RowsHandle, SessionHandle,
        sluicegate::policy::{commands, host, results, sessions, sql, types, verdicts},
    },
    convert::{self, column_name, relation_name},
    instance::State,
    voice::rule_text,
};

impl types::Host for State {}
impl verdicts::Host for State {}
impl sessions::Host for State {}
impl commands::Host for State {}
impl results::Host for State {}

impl host::Host for State {
    fn log(&mut self, level: types::Level, message: String) -> Result<()> {
        self.varies = true;
        self.voice.log(level, &message);
        Ok(())
    }

    fn cite(&mut self, rule: String) -> Result<()> {
        self.cited = Some(rule_text(&rule)).filter(|rule| !rule.is_empty());
        Ok(())
    }

    fn counter_add(&mut self, name: String, delta: i64) -> Result<i64> {
        self.varies = true;
        self.voice.add(name, delta).map_err(wasmtime::Error::new)
    }
}

impl sessions::HostSession for State {
    fn id(&mut self, _: Resource<SessionHandle>) -> Result<String> {
        Ok(self.session()?.id.to_string())
    }

    fn user(&mut self, _: Resource<SessionHandle>) -> Result<String> {
        Ok(self.session()?.identity.user.clone())
    }

    fn groups(&mut self, _: Resource<SessionHandle>) -> Result<Vec<String>> {
        Ok(self.session()?.identity.groups.clone())
    }

    fn has_group(&mut self, _: Resource<SessionHandle>, name: String) -> Result<bool> {
        Ok(self.session()?.identity.groups.contains(&name))
    }

    fn kind(&mut self, _: Resource<SessionHandle>) -> Result<sessions::IdentityKind> {
        Ok(match self.session()?.identity.kind {
            Kind::Person => sessions::IdentityKind::Person,
            Kind::Service => sessions::IdentityKind::Service,
            Kind::Agent => sessions::IdentityKind::Agent,
        })
    }

    fn owner(&mut self, _: Resource<SessionHandle>) -> Result<Option<String>> {
        Ok(self.session()?.identity.owner.clone())
    }

    fn actor(&mut self, _: Resource<SessionHandle>) -> Result<Option<String>> {
        Ok(self.session()?.identity.actor.clone())
    }

    fn roles(&mut self, _: Resource<SessionHandle>) -> Result<Vec<String>> {
        Ok(self.session()?.roles.clone())
    }

    fn has_role(&mut self, _: Resource<SessionHandle>, name: String) -> Result<bool> {
        Ok(self.session()?.roles.contains(&name))
    }

    fn target(&mut self, _: Resource<SessionHandle>) -> Result<String> {
        Ok(self.session()?.target.to_string())
    }

    fn protocol(&mut self, _: Resource<SessionHandle>) -> Result<String> {
        Ok(self.session()?.protocol.to_owned())
    }

    fn client_address(&mut self, _: Resource<SessionHandle>) -> Result<String> {
        Ok(self.session()?.client.to_string())
    }

    fn application(&mut self, _: Resource<SessionHandle>) -> Result<String> {
        Ok(self.session()?.application.clone())
    }

    fn drop(&mut self, _: Resource<SessionHandle>) -> Result<()> {
        Ok(())
    }
}

impl commands::HostCommand for State {
    fn sequence(&mut self, _: Resource<CommandHandle>) -> Result<u64> {
        self.varies = true;
        self.command()?;
        Ok(self.sequence)
    }

    fn verb(&mut self, _: Resource<CommandHandle>) -> Result<String> {
        Ok(self.command()?.verb.to_owned())
    }

    fn text(&mut self, _: Resource<CommandHandle>) -> Result<String> {
        self.varies = true;
        Ok(self.command()?.text.to_string())
    }

    fn normalized_text(&mut self, _: Resource<CommandHandle>) -> Result<String> {
        Ok(self.command()?.normalized.to_string())
    }

    fn resources(&mut self, _: Resource<CommandHandle>) -> Result<Vec<String>> {
        let command = self.command()?;
        Ok(match &command.sql {
            Some(facts) => facts.relations.iter().map(|r| r.name.to_string()).collect(),
            None => command.resources.clone(),
        })
    }

    fn parameter_count(&mut self, _: Resource<CommandHandle>) -> Result<u32> {
        self.varies = true;
        Ok(u32::try_from(self.command()?.parameters.len()).unwrap_or(u32::MAX))
    }

    fn parameter(&mut self, _: Resource<CommandHandle>, index: u32) -> Result<Option<String>> {
        self.varies = true;
        Ok(match self.command()?.parameters.get(index as usize) {
            Some(Parameter::Text(text)) => Some(text.to_string()),
            Some(Parameter::Null | Parameter::Opaque(_)) | None => None,
        })
    }

    fn is_sql(&mut self, _: Resource<CommandHandle>) -> Result<bool> {
        Ok(self.command()?.sql.is_some())
    }

    fn drop(&mut self, _: Resource<CommandHandle>) -> Result<()> {
        Ok(())
    }
}

impl sql::Host for State {
    fn classes_of(&mut self, _: Resource<CommandHandle>) -> Result<sql::Classes> {
        Ok(self.sql()?.map_or_else(sql::Classes::empty, |facts| facts.classes.into()))
    }

    fn kinds(&mut self, _: Resource<CommandHandle>) -> Result<Vec<String>> {
        Ok(self.sql()?.map(|facts| facts.kinds.clone()).unwrap_or_default())
    }

    fn statement_count(&mut self, _: Resource<CommandHandle>) -> Result<u32> {
        Ok(self.sql()?.map_or(0, |facts| facts.statements))
    }

    fn relations(&mut self, _: Resource<CommandHandle>) -> Result<Vec<sql::Relation>> {
        Ok(self.sql()?.map(|facts| facts.relations.iter().map(relation).collect()).unwrap_or_default())
    }

    fn reachable_columns(&mut self, _: Resource<CommandHandle>) -> Result<Vec<types::ColumnName>> {
        Ok(self.sql()?.map(|facts| facts.reachable_columns.iter().map(column_name).collect()).unwrap_or_default())
    }

    fn reaches_unknown(&mut self, _: Resource<CommandHandle>) -> Result<bool> {
        Ok(self.sql()?.is_some_and(|facts| facts.reaches_unknown))
    }

    fn columns(&mut self, _: Resource<CommandHandle>) -> Result<Vec<sql::ColumnUse>> {
        let used =
            |c: &sluicegate_core::sql::ColumnUse| sql::ColumnUse { name: column_name(&c.name), usage: c.usage.into() };
        Ok(self.sql()?.map(|facts| facts.columns.iter().map(used).collect()).unwrap_or_default())
    }

    fn functions(&mut self, _: Resource<CommandHandle>) -> Result<Vec<sql::FunctionUse>> {
        let called = |f: &sluicegate_core::sql::FunctionUse| sql::FunctionUse {
            schema: f.schema.clone(),
            name: f.name.clone(),
            builtin: f.builtin,
        };
        Ok(self.sql()?.map(|facts| facts.functions.iter().map(called).collect()).unwrap_or_default())
    }

    fn writes_without_where(&mut self, _: Resource<CommandHandle>) -> Result<bool> {
        Ok(self.sql()?.is_some_and(|facts| facts.writes_without_where))
    }

    fn unanalysable_reason(&mut self, _: Resource<CommandHandle>) -> Result<Option<String>> {
        Ok(self.sql()?.and_then(|facts| facts.unanalysable.clone()))
    }
}

fn relation(used: &sluicegate_core::sql::RelationUse) -> sql::Relation {
    sql::Relation {
        name: relation_name(&used.name),
        access: used.access.into(),
        known: used.known,
        indirect: used.indirect,
    }
}

impl results::HostResultSet for State {
    fn statement(&mut self, _: Resource<ResultHandle>) -> Result<u32> {
        Ok(self.schema()?.statement)
    }

    fn columns(&mut self, _: Resource<ResultHandle>) -> Result<Vec<results::Column>> {
        Ok(self.schema()?.columns.iter().map(column).collect())
    }

    fn drop(&mut self, _: Resource<ResultHandle>) -> Result<()> {
        Ok(())
    }
}

fn column(column: &sluicegate_core::Column) -> results::Column {
    results::Column {
        name: column.name.to_string(),
        type_name: column.type_name.to_string(),
        resolution: convert::resolution(column.resolution),
        sources: column.sources.iter().map(column_name).collect(),
    }
}

impl results::HostPlan for State {
    fn mask(&mut self, _: Resource<PlanHandle>, column: u32, mask: types::Mask) -> Result<()> {
        let width = self.schema()?.columns.len();
        self.masking_plan()?.mask(column, width, convert::mask(mask)).map_err(wasmtime::Error::new)
    }

    fn inspect(&mut self, _: Resource<PlanHandle>, column: u32) -> Result<()> {
        let width = self.schema()?.columns.len();
        self.masking_plan()?.inspect(column, width).map_err(wasmtime::Error::new)
    }

    fn spare(&mut self, _: Resource<PlanHandle>, column: u32) -> Result<()> {
        let width = self.schema()?.columns.len();
        self.masking_plan()?.spare(column, width).map_err(wasmtime::Error::new)
    }

    fn limit_rows(&mut self, _: Resource<PlanHandle>, rows: u64) -> Result<()> {
        self.plan.limit_rows(rows);
        Ok(())
    }

    fn drop(&mut self, _: Resource<PlanHandle>) -> Result<()> {
        Ok(())
    }
}

impl results::HostRows for State {
    fn first_row(&mut self, _: Resource<RowsHandle>) -> Result<u64> {
        Ok(self.rows()?.0.first_row)
    }

    fn row_count(&mut self, _: Resource<RowsHandle>) -> Result<u32> {
        Ok(self.rows()?.0.rows)
    }

    fn columns(&mut self, _: Resource<RowsHandle>) -> Result<Vec<results::Values>> {
        let (batch, asked) = self.rows()?;
        let shown = batch.columns.iter().filter(|c| asked.contains(&c.column));
        Ok(shown
            .map(|c| results::Values {
                column: c.column,
                offsets: c.offsets.clone(),
                bytes: c.bytes.clone(),
                nulls: c.nulls.clone(),
            })
            .collect())
    }

    fn drop(&mut self, _: Resource<RowsHandle>) -> Result<()> {
        Ok(())
    }
}

/// A handle of a kind that this call did not give out. The component model forbids it; this is the
/// second lock on the door.
#[derive(Debug, thiserror::Error)]
#[error("the policy used a {0} outside the call that gave it")]
struct Stale(&'static str);

impl State {
    fn session(&self) -> Result<&Session> {
        self.session.as_deref().ok_or_else(|| wasmtime::Error::new(Stale("session")))
    }

    fn command(&self) -> Result<&Command> {
        self.command.as_deref().ok_or_else(|| wasmtime::Error::new(Stale("command")))
    }

    fn sql(&self) -> Result<Option<&SqlFacts>> {
        Ok(self.command()?.sql.as_deref())
    }

    fn schema(&self) -> Result<&ResultSchema> {
        self.schema.as_deref().ok_or_else(|| wasmtime::Error::new(Stale("result")))
    }
}
