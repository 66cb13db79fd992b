//! SQL that is made to exhaust whoever reads it: nested without end, of a million tokens, of a hundred
//! thousand statements.

use std::{
    thread,
    time::{Duration, Instant},
};

use sluicegate_tests::{
    Bystander, Gateway,
    wire::{Wire, errors_of, tags_of},
};

use crate::{calm, database, with_calm};

/// How long the answer to one of them may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn nested(open: &str, inside: &str, close: &str, depth: usize) -> String {
    format!("SELECT {}{inside}{}", open.repeat(depth), close.repeat(depth))
}

/// Each within what a statement may have, 1 MiB.
fn monsters() -> Vec<(&'static str, String)> {
    vec![
        ("parentheses", nested("(", "1", ")", 400_000)),
        ("negations", nested("NOT ", "true", "", 200_000)),
        ("signs", nested("- ", "1", "", 400_000)),
        ("cases", nested("CASE WHEN true THEN ", "1", " END", 30_000)),
        ("arrays", nested("ARRAY[", "1", "]", 100_000)),
        ("functions", nested("abs(", "1", ")", 150_000)),
        ("casts", nested("", "1", "::int", 150_000)),
        ("subscripts", nested("", "a", "[1]", 200_000)),
        ("sums", format!("SELECT 1{}", "+1".repeat(400_000))),
        ("conditions", format!("SELECT 1 WHERE true{}", " AND true".repeat(100_000))),
        ("subqueries", nested("* FROM (SELECT ", "1 AS x", ") AS s", 30_000)),
        ("joins", format!("SELECT 1 FROM customers{}", " CROSS JOIN customers".repeat(40_000))),
        ("unions", format!("SELECT 1{}", " UNION SELECT 1".repeat(60_000))),
        (
            "tables",
            format!(
                "WITH {} SELECT 1",
                (0..40_000).map(|n| format!("c{n} AS (SELECT 1)")).collect::<Vec<_>>().join(",")
            ),
        ),
        // The server itself reads them in quadratic time.
        ("comments", format!("SELECT 1 {}{}", "/*".repeat(5_000), "*/".repeat(5_000))),
        ("a million tokens", format!("SELECT 1{}", ",1".repeat(500_000))),
        ("a million unfinished ones", format!("SELECT 1{}", ",(".repeat(500_000))),
        ("quotes", format!("SELECT {}", "'".repeat(1_000_001))),
        ("dollars", format!("SELECT {}", "$a".repeat(500_000))),
        ("a name of many parts", format!("SELECT a{}", ".a".repeat(400_000))),
        ("statements", "SELECT 1;".repeat(100_000)),
        ("empty statements", ";".repeat(1_000_000)),
        ("rows", format!("INSERT INTO customers (id) VALUES (1){}", ",(1)".repeat(200_000))),
        ("elements", format!("SELECT 1 WHERE 1 IN (1{})", ",1".repeat(400_000))),
    ]
}

#[test]
fn monstrous_statements_are_answered_in_time_and_harm_nobody() {
    let database = database();
    let gateway = Gateway::before(&database)
        .policy("sql-guard", r#"deny = ["drop", "truncate"], require_where = true"#)
        .policy("pii-mask", r#"columns = ["*.ssn"]"#)
        .policy("hold-for-approval", r#"when = { kinds = ["delete"] }, approvers = ["group:dba"]"#);
    let gateway = with_calm(gateway, &database);
    let mut bystander = Bystander::at(&gateway, calm(&gateway));
    let (mut wire, _) = Wire::login(&gateway.alice());
    let (send, answers) = std::sync::mpsc::channel();
    let attack = thread::spawn(move || {
        for (what, monster) in monsters() {
            assert!(monster.len() <= 1 << 20, "{what}: {} bytes", monster.len());
            println!("{what} ...");
            let start = Instant::now();
            let answer = wire.query(&monster);
            let tags = tags_of(&answer);
            // What PostgreSQL itself takes may pass; nothing else may do so without an error.
            send.send((what, start.elapsed(), errors_of(&answer), tags.len())).expect("the test listens");
            assert_eq!(tags_of(&wire.query("SELECT 1")), "TDCZ", "after {what}");
        }
    });
    let mut longest = Duration::ZERO;
    while !attack.is_finished() {
        let start = Instant::now();
        bystander.works();
        longest = longest.max(start.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    attack.join().expect("every monster is answered");
    for (what, took, errors, messages) in answers {
        println!("{what}: {took:?}, {errors:?}, {messages} messages");
        assert!(took < PATIENCE, "{what} took {took:?}");
        assert!(errors.len() == 1 || messages > 1, "{what}");
    }
    println!("longest pause of the bystander: {longest:?}");
    assert!(longest < Duration::from_secs(5), "the bystander waited for {longest:?}");
    bystander.is_unharmed();
}
