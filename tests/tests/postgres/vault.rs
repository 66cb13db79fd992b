//! Credentials from Vault: a password that is kept there, and roles that are lent for each session.

use std::time::Duration;

use serde_json::json;
use sluicegate_tests::{
    Database, Gateway, Vault,
    builder::{Builder, write_file},
    client::{explain, soon, sqlstate},
    postgres::{APP, APP_PASSWORD},
    programs::{eventually, free_port},
};

use crate::database;

/// All that a client is told where the gateway does not get its credentials.
const TOLD: &str = "the gateway could not log in to the target; its operator must look into it";
const SOON: Duration = Duration::from_secs(20);
const LENT: &str = "credentials = { vault = \"database/creds/orders\" }";

/// A gateway that logs in so.
fn before(database: &Database, vault: &Vault, login: &str) -> Builder {
    Gateway::before(database).login(login).table("vault", &vault.lines()).file("vault-token", &vault.token())
}

/// A Vault that lends roles of a database for so many seconds, and the gateway before it.
fn lending(seconds: u32, most: u32) -> (Database, Vault, Builder) {
    let (database, vault) = (database(), Vault::start());
    vault.lends("orders", &database, seconds, most);
    let builder = before(&database, &vault, LENT).table("log", "level = \"info,sluicegate_credentials=debug\"");
    (database, vault, builder)
}

/// The roles of a database's Vault that are left.
fn roles(database: &Database) -> Vec<String> {
    let members = format!(
        "SELECT m.rolname FROM pg_auth_members JOIN pg_roles m ON m.oid = member JOIN pg_roles r ON r.oid = roleid \
         WHERE r.rolname = '{APP}' AND m.rolname LIKE 'v-%' AND EXISTS (SELECT FROM pg_stat_activity a WHERE \
         a.usename = m.rolname AND a.datname = '{}')",
        database.name
    );
    database.administer(&members).lines().map(str::to_owned).collect()
}

fn role_exists(database: &Database, role: &str) -> bool {
    database.administer(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'")).trim() == "1"
}

#[test]
fn a_password_that_is_kept_in_vault_is_read_by_each_session() {
    let (database, vault) = (database(), Vault::start());
    let login = format!("username = \"{APP}\"\npassword = {{ vault = \"secret/data/teams/orders\", key = \"app\" }}");
    let gateway = before(&database, &vault, &login).start();
    assert!(gateway.alice().psql("SELECT 1").failed().contains(TOLD), "there is nothing yet");
    gateway.wait_for_log(0, "there is nothing (status 404)");
    vault.keep("teams/orders", &json!({ "password": APP_PASSWORD }));
    assert!(gateway.alice().psql("SELECT 1").failed().contains(TOLD), "it has another name");
    gateway.wait_for_log(0, "there is no value `app`");
    vault.keep("teams/orders", &json!({ "app": APP_PASSWORD }));
    assert_eq!(gateway.alice().psql("SELECT current_user").ok().trim(), APP);
    vault.keep("teams/orders", &json!({ "app": "another one" }));
    assert!(gateway.alice().psql("SELECT 1").failed().contains(TOLD), "it is read anew");
}

#[test]
fn each_session_has_a_role_of_its_own_which_is_gone_when_it_ends() {
    let (database, vault, builder) = lending(3600, 7200);
    // With a policy, there is a catalog too, whose connection has a role of its own.
    let mut gateway = builder.policy("pii-mask", r#"columns = ["*.ssn"]"#).start();
    let alice = || gateway.alice().psql("SELECT current_user, ssn IS NULL FROM customers LIMIT 1").ok();
    let (first, second) = (alice(), alice());
    assert!(first.starts_with("v-") && second.starts_with("v-") && first != second, "{first}{second}");
    let user = |line: &str| line.split('|').next().unwrap().to_owned();
    for role in [user(&first), user(&second)] {
        eventually("its role is gone", SOON, || !role_exists(&database, &role));
    }
    // A client that is killed leaves nothing behind either.
    let mut sleeping = gateway.alice().psql_start("SELECT current_user; SELECT pg_sleep(60);");
    eventually("it has a role", SOON, || sleeping.output().starts_with("v-"));
    let role = sleeping.output().trim().to_owned();
    drop(sleeping);
    eventually("its role is gone", SOON, || !role_exists(&database, &role));
    // Nor does the gateway, for its sessions and for its catalog.
    let waiting = gateway.alice().psql_start("SELECT pg_sleep(60);");
    eventually("there are a session and a catalog", SOON, || roles(&database).len() == 2);
    assert_eq!(vault.leases("orders").len(), 2);
    assert!(gateway.stop(Duration::from_secs(60)), "{}", gateway.log());
    assert!(vault.leases("orders").is_empty(), "the gateway gives back everything before it ends");
    assert!(!gateway.log().contains("could not be revoked"), "{}", gateway.log());
    drop(waiting);
}

#[test]
fn what_was_lent_for_a_login_that_failed_is_given_back() {
    let (_database, vault, builder) = lending(3600, 7200);
    let nobody = format!("127.0.0.1:{}", free_port());
    let gateway = builder.address(&nobody).start();
    let told = gateway.alice().psql("SELECT 1").failed();
    assert!(told.contains("cannot be reached at the moment"), "{told}");
    gateway.wait_for_log(0, "Vault lent credentials");
    gateway.wait_for_log(0, "a lease was revoked");
    vault.wait_until_nothing_is_lent("orders");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_while_its_session_lives() {
    let (_database, vault, builder) = lending(4, 3600);
    let gateway = builder.start();
    let session = gateway.alice().connect().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let row = soon(session.client.query_one("SELECT current_user::text", &[])).await.expect("the session lives");
    assert!(row.get::<_, &str>(0).starts_with("v-"));
    let (lent, log) = (vault.leases("orders"), gateway.log());
    assert_eq!(lent.len(), 1, "one lease, which is still the first");
    let renewed = log.lines().filter(|line| line.contains("a lease was renewed") && line.contains(&lent[0])).count();
    assert!((3..=9).contains(&renewed), "renewed at about half of its time: {renewed}\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_lease_has_reached_its_longest_time_is_told_so_and_ends() {
    let (database, vault, builder) = lending(4, 7);
    let gateway = builder.start();
    let session = gateway.alice().connect().await;
    let role: String = soon(session.client.query_one("SELECT current_user::text", &[])).await.unwrap().get(0);
    let began = std::time::Instant::now();
    let error = soon(session.client.simple_query("SELECT pg_sleep(30)")).await.expect_err("the session ends");
    assert_eq!(sqlstate(&error), "57P01", "{}", explain(&error));
    assert!(
        explain(&error).contains("the credentials that were lent for the session at the target are about to expire")
    );
    assert!((4..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    eventually("its role is gone", SOON, || !role_exists(&database, &role));
    vault.wait_until_nothing_is_lent("orders");
    gateway.wait_for_log(0, "a lease has reached its longest time");
    let next = gateway.alice().connect().await;
    soon(next.client.simple_query("SELECT 1")).await.expect("there is a new lease for a new session");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_vault_is_down_sessions_go_on_until_their_lease_ends_and_there_are_no_new_ones() {
    let (_database, mut vault, builder) = lending(8, 3600);
    let gateway = builder.start();
    let session = gateway.alice().connect().await;
    let lease = vault.leases("orders").pop().expect("a lease");
    vault.stop();
    let refused = gateway.alice().psql("SELECT 1").failed();
    assert!(refused.contains(TOLD), "{refused}");
    soon(session.client.simple_query("SELECT 1")).await.expect("it has its role");
    let error = soon(session.client.simple_query("SELECT pg_sleep(30)")).await.expect_err("the session ends");
    assert_eq!(sqlstate(&error), "57P01", "{}", explain(&error));
    gateway.wait_for_log(0, "a lease could not be renewed");
    gateway.wait_for_log(0, "a lease could not be revoked, so that it ends by its own time");
    let line = gateway.log().lines().find(|line| line.contains("could not be revoked")).unwrap_or_default().to_owned();
    assert!(line.contains(&lease), "{line}");
}

#[test]
fn a_token_that_is_withdrawn_is_a_login_that_fails_until_there_is_another() {
    let (_database, vault, builder) = lending(3600, 7200);
    let (old, new) = (vault.token(), vault.token());
    let gateway = builder.file("vault-token", &format!("{old}\n")).start();
    gateway.alice().psql("SELECT 1").ok();
    vault.wait_until_nothing_is_lent("orders");
    vault.withdraw(&old);
    let told = gateway.alice().psql("SELECT 1").failed();
    assert!(told.contains(TOLD) && !told.contains("permission"), "{told}");
    gateway.wait_for_log(0, "it refuses the token of [vault] (status 403)");
    assert!(!gateway.log().contains(&old), "a token is a secret");
    write_file(&gateway.folder().join("vault-token"), &new);
    gateway.alice().psql("SELECT 1").ok();
}

#[test]
fn a_vault_is_trusted_by_its_authority_alone() {
    let (database, vault) = (database(), Vault::start_with_tls());
    let login = format!("username = \"{APP}\"\npassword = {{ vault = \"secret/data/orders\" }}");
    let lines = vault.lines();
    let with = |more: &str| {
        let builder = Gateway::before(&database).login(&login).file("vault-token", "nobody's");
        builder.table("vault", &format!("{lines}\n{more}")).start()
    };
    let authority = format!("ca = \"{}\"", vault.authority().display());
    for (more, said) in
        [(authority.as_str(), "it refuses the token of [vault] (status 403)"), ("", "it cannot be reached")]
    {
        let gateway = with(more);
        assert!(gateway.alice().psql("SELECT 1").failed().contains(TOLD));
        gateway.wait_for_log(0, said);
    }
}

#[test]
fn another_vault_is_asked_once_the_configuration_names_it() {
    let (_database, vault, builder) = lending(3600, 7200);
    let mut gateway = builder.start();
    let right = gateway.config().to_owned();
    let address = vault.lines().lines().next().expect("its address").to_owned();
    let from = gateway.log().len();
    gateway.configure(right.replace(&address, &format!("address = \"http://127.0.0.1:{}\"", free_port())));
    gateway.wait_for_log(from, "configuration reloaded");
    assert!(gateway.alice().psql("SELECT 1").failed().contains(TOLD));
    let from = gateway.log().len();
    gateway.configure(right);
    gateway.wait_for_log(from, "configuration reloaded");
    assert!(gateway.alice().psql("SELECT current_user").ok().starts_with("v-"));
    vault.wait_until_nothing_is_lent("orders");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let database = database();
    let refused = |login: &str| Gateway::before(&database).login(login).refused();
    assert!(refused(LENT).contains("this is a place in Vault, and there is no [vault]"));
    let said = refused(&format!("username = \"app\"\n{LENT}"));
    assert!(said.contains("here are both; remove one"), "{said}");
    assert!(refused(&format!("reuse = \"30s\"\n{LENT}")).contains("do not go together with `reuse`"));
    assert!(refused("").contains("missing key `username`"));
    let said = refused("credentials = { username = \"app\", password = \"hunter2\" }");
    assert!(said.contains("`credentials` says where they are lent") && !said.contains("hunter2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_in_vault_ends_its_session() {
    let (_database, vault, builder) = lending(6, 3600);
    let gateway = builder.start();
    let session = gateway.alice().connect().await;
    for lease in vault.leases("orders") {
        vault.revoke(&lease);
    }
    let began = std::time::Instant::now();
    let error = soon(session.client.simple_query("SELECT pg_sleep(30)")).await.expect_err("the session ends");
    assert_eq!(sqlstate(&error), "57P01", "{}", explain(&error));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    gateway.wait_for_log(0, "a lease is gone before its time");
}

#[test]
fn what_a_path_lends_by_mistake_is_given_back() {
    let (database, vault, _) = lending(3600, 7200);
    let login = "username = \"app\"\npassword = { vault = \"database/creds/orders\" }";
    let gateway =
        Gateway::before(&database).table("vault", &vault.lines()).file("vault-token", &vault.token()).login(login);
    let gateway = gateway.start();
    gateway.alice().psql("SELECT 1").failed();
    vault.wait_until_nothing_is_lent("orders");
}
