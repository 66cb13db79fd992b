//! The StartupMessage (protocol 3.0), and what the server says between the login and its first
//! ReadyForQuery.

use bytes::BytesMut;
use postgres_protocol::message::{
    backend::{Message, ParameterStatusBody},
    frontend,
};
use sluicegate_core::Session;

use super::{DialError, cancel::BackendKey, wire::Wire};
use crate::config::TargetConfig;

/// PostgreSQL cuts longer names by itself (NAMEDATALEN - 1).
const MAX_APPLICATION_NAME: usize = 63;
/// Far more settings than any server reports.
const MAX_PARAMETERS: usize = 512;

/// The settings that the client asked for when it connected, `options` already taken apart.
#[derive(Debug, Clone, Default)]
pub struct StartupParams {
    /// Names and values, for example `client_encoding`, `DateStyle`, `TimeZone`.
    pub settings: Vec<(String, String)>,
}

/// For a person's session. The target learns who it is from `application_name` and from the
/// settings `sluicegate.user` and `sluicegate.session`.
pub(super) fn for_session(
    config: &TargetConfig,
    username: &str,
    session: &Session,
    startup: &StartupParams,
) -> Result<BytesMut, DialError> {
    let id = session.id.to_string();
    for_user(config, username, session, &session.application, &[("sluicegate.session", &id)], startup)
}

/// For sessions of one person, one after the other: only what is the same for all of them.
pub(super) fn for_sessions(
    config: &TargetConfig,
    username: &str,
    session: &Session,
    startup: &StartupParams,
) -> Result<BytesMut, DialError> {
    for_user(config, username, session, "", &[], startup)
}

fn for_user(
    config: &TargetConfig,
    username: &str,
    session: &Session,
    application: &str,
    more: &[(&str, &str)],
    startup: &StartupParams,
) -> Result<BytesMut, DialError> {
    let application = application_name(application, &session.identity.user);
    let mut parameters = vec![
        ("user", username),
        ("database", config.database.as_str()),
        ("application_name", application.as_str()),
        ("sluicegate.user", session.identity.user.as_str()),
    ];
    parameters.extend(more);
    for (name, value) in &startup.settings {
        if is_reserved(name) {
            return Err(DialError::Parameter(printable(name).take(64).collect()));
        }
        parameters.push((name, value));
    }
    message(&parameters)
}

/// For the gateway's own catalog connection: no schema is searched, so that no name in its queries
/// can be taken over by what users create.
pub(super) fn for_catalog(config: &TargetConfig, username: &str) -> Result<BytesMut, DialError> {
    message(&[
        ("user", username),
        ("database", &config.database),
        ("application_name", "sluicegate catalog"),
        ("client_encoding", "UTF8"),
        ("search_path", ""),
    ])
}

fn message(parameters: &[(&str, &str)]) -> Result<BytesMut, DialError> {
    let mut bytes = BytesMut::new();
    frontend::startup_message(parameters.iter().copied(), &mut bytes)
        .map_err(|_| DialError::Parameter("one with a NUL byte in it".to_owned()))?;
    Ok(bytes)
}

/// The names that say who connects to what and how; settings are matched without regard to case.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let reserved = ["", "user", "database", "options", "replication", "application_name"];
    reserved.contains(&name.as_str()) || name.starts_with("sluicegate.") || name.starts_with("_pq_.")
}

/// `<client's application> (<user> via sluicegate)`, in printable ASCII. Where it is too long the
/// client's own words are cut first.
pub(super) fn application_name(application: &str, user: &str) -> String {
    const WORDS: usize = " ( via sluicegate)".len();
    let user: String = printable(user).take(MAX_APPLICATION_NAME - WORDS).collect();
    let application: String = printable(application).take(MAX_APPLICATION_NAME - WORDS - user.len()).collect();
    if application.is_empty() {
        return format!("{user} via sluicegate");
    }
    format!("{application} ({user} via sluicegate)")
}

fn printable(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' })
}

/// The settings that a server reports, as it reported them last, in its order.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }

    /// Takes a report. Beyond the most settings that are kept new ones are not.
    pub fn set(&mut self, name: String, value: String) {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| *known == name) {
            *known = value;
        } else if self.0.len() < MAX_PARAMETERS {
            self.0.push((name, value));
        }
    }
}

/// Takes a report outside a session.
pub(super) fn report(parameters: &mut Parameters, body: &ParameterStatusBody) -> Result<(), DialError> {
    let text =
        |s: std::io::Result<&str>| s.map(str::to_owned).map_err(|_| DialError::Protocol("a setting is not UTF-8"));
    parameters.set(text(body.name())?, text(body.value())?);
    Ok(())
}

/// What a server says before its first ReadyForQuery.
pub(super) struct Ready {
    pub(super) parameters: Parameters,
    pub(super) key: BackendKey,
}

pub(super) async fn until_ready(wire: &mut Wire<'_>) -> Result<Ready, DialError> {
    let mut parameters = Parameters::default();
    let (mut key, mut reports) = (None, 0..MAX_PARAMETERS);
    loop {
        match wire.next().await? {
            Message::ParameterStatus(body) if reports.next().is_some() => report(&mut parameters, &body)?,
            Message::BackendKeyData(body) => {
                key = Some(BackendKey { process_id: body.process_id(), secret: body.secret_key() });
            }
            Message::ReadyForQuery(_) => break,
            _ => return Err(DialError::Protocol("an unexpected message after the login")),
        }
    }
    let key = key.ok_or(DialError::Protocol("there is no key to cancel with"))?;
    Ok(Ready { parameters, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_outlives_the_cut() {
        assert_eq!(application_name("psql", "alice"), "psql (alice via sluicegate)");
        assert_eq!(application_name("", "alice"), "alice via sluicegate");
        assert_eq!(application_name("a\nb\u{e9}", "bo"), "a?b? (bo via sluicegate)");
        let long = application_name(&"x".repeat(100), "alice");
        assert_eq!(long.len(), MAX_APPLICATION_NAME);
        assert!(long.ends_with("x (alice via sluicegate)"));
        assert!(application_name("psql", &"y".repeat(100)).len() <= MAX_APPLICATION_NAME);
    }

    #[test]
    fn what_says_who_connects_is_reserved() {
        for name in ["user", "database", "Options", "replication", "APPLICATION_NAME", "SluiceGate.user", "_pq_.x", ""]
        {
            assert!(is_reserved(name), "{name}");
        }
        assert!(!is_reserved("TimeZone"));
    }
}
