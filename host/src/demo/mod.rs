//! The demo: a temporary PostgreSQL with sample data, a gateway before it and the shipped policies, all
//! in temporary folders that go when it ends.
//!
//! * [`postgres`] is the server, [`stage`] the gateway's folder.
//! * [`guide`] is what it prints.
//! * [`tour`] plays what a visitor would try, and checks that it happened.

pub mod guide;
pub mod postgres;
pub mod stage;
pub mod tour;

/// A word that nobody guesses.
pub fn random_word() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gave no random bytes: {error}"))?;
    Ok(sluicegate_core::hex(&bytes))
}
