//! Who is let in, and what those who are not get to know.

use sluicegate_tests::{
    Endpoint,
    gateway::TARGET,
    postgres::APP_PASSWORD,
    users::{self, USERS},
    wire::{Message, Wire, code},
};

use crate::{database, open};

/// What the gateway answers to a login that it refuses.
fn refusal(port: u16, user: &str, secret: &str, target: &str) -> Message {
    let (mut wire, greeting) = Wire::login(&Endpoint::new(port, user, secret, target));
    assert!(wire.is_closed_by_server(), "a refused login ends the connection");
    greeting.into_iter().find(|message| message.tag == 'E').expect("the login is refused")
}

#[test]
fn the_right_secret_opens_the_target_as_the_targets_own_user() {
    let (_database, gateway) = open();
    for user in ["alice", "ci-migrate", "admin"] {
        assert_eq!(gateway.endpoint(user).psql("SELECT current_user").ok().trim(), "app", "{user}");
    }
}

#[test]
fn a_wrong_secret_and_an_unknown_user_read_the_same() {
    let (_database, gateway) = open();
    let wrong = refusal(gateway.port(), "alice", "guess", TARGET);
    let unknown = refusal(gateway.port(), "mallory", "guess", TARGET);
    let empty = refusal(gateway.port(), "alice", "", TARGET);
    assert_eq!(wrong.field('C').unwrap(), "28P01");
    assert_eq!(wrong, unknown);
    assert_eq!(wrong, empty);
}

#[test]
fn a_forbidden_target_and_an_unknown_one_read_the_same() {
    let (_database, gateway) = open();
    let forbidden = refusal(gateway.port(), "bob", users::secret("bob"), TARGET);
    let unknown = refusal(gateway.port(), "bob", users::secret("bob"), "orderz");
    let text = |message: &Message| String::from_utf8_lossy(&message.body).into_owned();
    assert_eq!(text(&forbidden), text(&unknown).replace("orderz", TARGET));
}

#[test]
fn the_secret_of_another_user_opens_nothing() {
    let (_database, gateway) = open();
    let error = refusal(gateway.port(), "alice", users::secret("bob"), TARGET);
    assert_eq!(error.field('C').unwrap(), "28P01");
}

#[test]
fn a_target_may_name_its_own_users_and_groups() {
    let database = database();
    let gateway = sluicegate_tests::Gateway::before(&database)
        .allow(r#"["group:engineering"]"#)
        .target("audit", &database)
        .allow(r#"["user:bob"]"#)
        .start();
    let audit = Endpoint { database: "audit".to_owned(), ..gateway.endpoint("bob") };
    assert_eq!(audit.psql("SELECT 1").ok().trim(), "1");
    gateway.endpoint("bob").psql("SELECT 1").failed();
    assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
    Endpoint { database: "audit".to_owned(), ..gateway.alice() }.psql("SELECT 1").failed();
}

#[test]
fn the_target_knows_who_the_person_is() {
    let (database, gateway) = open();
    let known = gateway.alice().psql("SELECT current_setting('sluicegate.user')").ok();
    assert_eq!(known.trim(), "alice");
    let mut command = gateway.alice().command("psql");
    command.env("PGAPPNAME", "reporting").args(["-X", "-A", "-t", "-c", "SHOW application_name"]);
    let name = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(name.contains("reporting") && name.contains("alice"), "{name}");
    assert_eq!(database.direct().psql("SELECT 1").ok().trim(), "1");
}

#[test]
fn no_secret_is_ever_shown() {
    let (_database, gateway) = open();
    gateway.alice().psql("SELECT 1").ok();
    let wrong = refusal(gateway.port(), "alice", "a wrong guess", TARGET);
    let shown = format!("{}{}", gateway.log(), String::from_utf8_lossy(&wrong.body));
    let secrets = USERS.iter().map(|user| user.secret).chain([APP_PASSWORD, "a wrong guess", "$argon2id$"]);
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret:?} is shown: {shown}");
    }
}

#[test]
fn a_login_that_says_nothing_of_use_is_refused() {
    let (_database, gateway) = open();
    let mut wire = Wire::connect(gateway.port());
    wire.send_packet(&[&code::V3_0.to_be_bytes()[..], b"user\0\0\0"].concat());
    assert!(wire.is_closed_by_server());
    let mut wire = Wire::connect(gateway.port());
    wire.send_packet(&(2u32 << 16).to_be_bytes());
    assert!(wire.is_closed_by_server());
    let mut wire = Wire::connect(gateway.port());
    wire.send_bytes(&u32::MAX.to_be_bytes());
    assert!(wire.is_closed_by_server(), "a start-up packet of 4 GiB is not waited for");
    assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
}

#[test]
fn who_the_target_is_told_somebody_is_cannot_be_changed() {
    let (_database, gateway) = open();
    for way in [
        "SET sluicegate.user = 'admin'",
        "SELECT set_config('sluicegate.user', 'admin', false)",
        "RESET sluicegate.session",
        "PREPARE p AS SELECT set_config('Sluicegate.User', 'admin', false)",
    ] {
        assert!(gateway.alice().psql(way).failed().contains("42501"), "{way}");
    }
    assert!(gateway.alice().psql("SELECT 'sluicegate.user'").ok().contains("sluicegate.user"));
}
