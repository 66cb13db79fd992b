//! How a connection passes from one session to the next: the server forgets what the one did, and is told
//! who the next one is. Where either does not go as it should, the connection is of no more use.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::{
    backend::{DataRowBody, Message},
    frontend,
};
use sluicegate_core::{Session, SessionId};

use super::{DialError, Upstream, startup, wire::Wire};

/// How texts are read: what the gate must know of a session before it reads the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The `search_path`.
    pub search_path: String,
    /// The role, `none` if it is the one that logged in.
    pub role: String,
}

/// The statement that tells the target which session it is. Settings of a start-up message come back with
/// RESET ALL, so on a connection that serves several sessions it cannot stand there.
pub fn names_session(id: SessionId) -> String {
    format!("SET sluicegate.session TO '{id}'")
}

/// Tells the target which session begins, in one round trip.
pub(super) async fn introduce(upstream: &mut Upstream, session: &Session) -> Result<Reading, DialError> {
    let application = startup::application_name(&session.application, &session.identity.user);
    let text = format!(
        "{}; SET application_name TO {}; SHOW search_path; SHOW role",
        names_session(session.id),
        literal(&application)
    );
    let mut answers = ask(upstream, &text).await?.into_iter();
    match (answers.next(), answers.next(), answers.next()) {
        (Some(search_path), Some(role), None) => Ok(Reading { search_path, role }),
        _ => Err(DialError::Protocol("not the answers to what was asked")),
    }
}

/// Has the server forget the session.
/// <https://www.postgresql.org/docs/current/sql-discard.html>
pub(super) async fn reset(upstream: &mut Upstream) -> Result<(), DialError> {
    ask(upstream, "DISCARD ALL").await.map(drop)
}

/// Runs a text of the gate's own and returns the first column of each row. Takes note of the settings that
/// the server reports; notices and notifications were meant for the session before.
async fn ask(upstream: &mut Upstream, text: &str) -> Result<Vec<String>, DialError> {
    let mut query = BytesMut::with_capacity(text.len() + 8);
    frontend::query(text, &mut query).map_err(|_| DialError::Protocol("a text has a NUL byte in it"))?;
    let Upstream { stream, read_ahead, parameters, .. } = upstream;
    let mut wire = Wire::new(stream, std::mem::take(read_ahead));
    wire.send(&query).await?;
    let mut answers = Vec::new();
    loop {
        match wire.next().await? {
            Message::DataRow(row) if answers.len() < 2 => answers.push(first_column(&row)?),
            Message::ParameterStatus(body) => startup::report(parameters, &body)?,
            Message::RowDescription(_) | Message::CommandComplete(_) | Message::NotificationResponse(_) => {}
            Message::ReadyForQuery(body) if body.status() == b'I' => break,
            _ => return Err(DialError::Protocol("an unexpected message between two sessions")),
        }
    }
    *read_ahead = wire.into_rest();
    Ok(answers)
}

fn first_column(row: &DataRowBody) -> Result<String, DialError> {
    let malformed = || DialError::Protocol("a row does not parse");
    let range = row.ranges().next().map_err(|_| malformed())?.flatten().ok_or_else(malformed)?;
    let value = row.buffer().get(range).ok_or_else(malformed)?;
    String::from_utf8(value.to_vec()).map_err(|_| malformed())
}

/// A literal that means the same whatever `standard_conforming_strings` is. For printable ASCII.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_holds_whatever_a_client_calls_itself() {
        assert_eq!(literal("psql (o'hara via sluicegate)"), "E'psql (o''hara via sluicegate)'");
        assert_eq!(literal("\\'; drop table t; --"), "E'\\\\''; drop table t; --'");
    }
}
