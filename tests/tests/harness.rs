//! The harness itself: what the other tests stand on, checked without the gateway.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use sluicegate_tests::{Postgres, client::soon, programs::eventually, seed};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_has_the_sample_data_and_is_reached_by_both_kinds_of_client() {
    let database = Postgres::shared().database();
    let by_psql = database.direct().psql("SELECT ssn FROM customers WHERE id = 1").ok();
    let session = database.direct().connect().await;
    let row = soon(session.client.query_one("SELECT ssn FROM customers WHERE id = 1", &[])).await.unwrap();
    assert_eq!((by_psql.trim(), row.get(0)), (seed::SSN, seed::SSN));
    assert_eq!(database.connections(), 1);
}

#[test]
fn a_server_ends_with_the_test_process_even_when_that_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "starts_a_server_and_waits", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let folder =
        lines.map_while(Result::ok).find_map(|line| line.split_once("folder:").map(|(_, path)| path.to_owned()));
    let folder = folder.expect("the child says where its server lives");
    let pid = std::fs::read_to_string(Path::new(&folder).join("data/postmaster.pid")).unwrap();
    let server = format!("/proc/{}", pid.lines().next().unwrap());
    assert!(Path::new(&server).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the server and its folder are gone", Duration::from_secs(20), || {
        !Path::new(&folder).exists() && !Path::new(&server).exists()
    });
}

#[test]
#[ignore = "the other half of the test above, which kills it"]
fn starts_a_server_and_waits() {
    let postgres = Postgres::start();
    println!("folder:{}", postgres.folder().display());
    std::thread::sleep(Duration::from_secs(60));
}
