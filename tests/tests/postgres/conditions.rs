//! What `hold-for-approval` holds and what it lets pass, by the facts that the gateway finds in real
//! statements about a real catalog.

use sluicegate_tests::{
    Endpoint, Gateway,
    wire::{Wire, code, errors_of, zero_ended},
};

use crate::{
    database,
    held::{approve, notice_id},
};

/// A target that is named after what its policy looks for.
struct Case {
    name: &'static str,
    settings: &'static str,
    /// What is held, with words of the reason that the client reads.
    held: &'static [(&'static str, &'static str)],
    passes: &'static [&'static str],
}

const WHERE: Case = Case {
    name: "missing_where",
    settings: "when = { missing_where = true }",
    held: &[
        ("UPDATE orders SET total = 1", "UPDATE without WHERE"),
        ("DELETE FROM orders", "DELETE without WHERE"),
        ("WITH gone AS (DELETE FROM orders RETURNING 1) SELECT 1 FROM gone WHERE true", "without WHERE"),
        ("EXPLAIN ANALYZE UPDATE orders SET total = 1", "without WHERE"),
        ("SELECT 1; DELETE FROM orders", "without WHERE"),
        ("DO $$ BEGIN DELETE FROM orders; END $$", "may write without WHERE"),
    ],
    passes: &[
        "UPDATE orders SET total = total WHERE id = 1",
        "UPDATE orders SET total = total WHERE true",
        "DELETE FROM orders WHERE id = 0",
        "SELECT count(*) FROM orders",
        "INSERT INTO orders (customer_id, total) VALUES (1, 1)",
    ],
};

const FUNCTIONS: Case = Case {
    name: "functions",
    settings: r#"when = { functions = ["pg_sleep", "hr.r*"] }"#,
    held: &[
        ("SELECT pg_sleep(0)", "calling pg_sleep"),
        ("SELECT PG_CATALOG.PG_SLEEP(0)", "calling pg_sleep"),
        ("SELECT id FROM orders WHERE pg_sleep(0) IS NULL", "calling pg_sleep"),
        ("SELECT 1; SELECT pg_sleep(0)", "calling pg_sleep"),
        ("UPDATE orders SET total = 1 WHERE id = (SELECT 1 FROM pg_sleep(0))", "calling pg_sleep"),
        ("SELECT hr.raise(1)", "calling raise"),
        // Without a schema it may be that one.
        ("SELECT raise(1)", "calling raise"),
        ("SELECT ssn_of(1)", "may call pg_sleep, hr.r*"),
        ("DO $$ BEGIN END $$", "may call pg_sleep, hr.r*"),
        ("DROP VIEW cards_again CASCADE", "may call pg_sleep, hr.r*"),
    ],
    passes: &["SELECT upper('pg_sleep'), now()", "SELECT count(*) AS pg_sleep FROM orders", "SELECT id FROM hr.people"],
};

const CLASSES: Case = Case {
    name: "classes",
    settings: r#"when = { classes = ["ddl", "admin"] }"#,
    held: &[
        ("CREATE TABLE t (a int)", "(ddl)"),
        ("DROP VIEW shouted", "(ddl)"),
        ("SELECT id INTO t FROM orders", "(ddl)"),
        ("SELECT 1; TRUNCATE orders", "(ddl)"),
        ("GRANT SELECT ON orders TO PUBLIC", "(admin)"),
        ("VACUUM orders", "(admin)"),
        ("DO $$ BEGIN END $$", "may do ddl, admin work"),
    ],
    passes: &[
        "SELECT id FROM orders",
        "UPDATE orders SET total = total WHERE id = 1",
        "SET work_mem = '8MB'",
        "BEGIN; COMMIT",
        "SELECT 'DROP TABLE orders' AS \"create\"",
    ],
};

const TABLES: Case = Case {
    name: "tables",
    settings: r#"when = { tables = ["customers"] }"#,
    held: &[
        ("SELECT id FROM customers", "on public.customers"),
        ("SELECT id FROM customer_cards", "public.customers (through a view)"),
        ("SELECT id FROM cards_again", "public.customers (through a view)"),
        ("DELETE FROM orders o USING shouted s WHERE o.id = s.id", "public.customers (through a view)"),
        ("COPY (SELECT id FROM customer_cards) TO STDOUT", "public.customers (through a view)"),
        ("SELECT ssn_of(1)", "may reach customers"),
        ("SELECT 1 FROM nowhere", "may reach customers"),
        ("DO $$ BEGIN END $$", "may reach customers"),
        ("DROP TABLE everything CASCADE", "may reach customers"),
    ],
    passes: &["SELECT id FROM orders", "SELECT ssn FROM hr.people", "SELECT 'customers' AS customers"],
};

const ODD: &str = "SELECT 1 FROM orders WHERE id = 1 FOR NOTHING";

const UNANALYSABLE: Case = Case {
    name: "unanalysable",
    settings: r#"when = { kinds = ["delete"] }, unanalysable = "hold""#,
    held: &[
        (ODD, "cannot be analysed"),
        ("SELEC 1", "cannot be analysed"),
        ("DELETE FROM orders WHERE id = 7", "DELETE"),
    ],
    passes: &["SELECT 1 FROM orders WHERE id = 1 FOR UPDATE"],
};

const CASES: [Case; 5] = [WHERE, FUNCTIONS, CLASSES, TABLES, UNANALYSABLE];

#[test]
fn each_condition_holds_what_it_names_and_nothing_else() {
    let database = database();
    database.direct().psql("CREATE FUNCTION hr.raise(integer) RETURNS int LANGUAGE sql AS 'SELECT $1'").ok();
    let mut gateway = Gateway::before(&database).admin();
    for Case { name, settings, .. } in CASES {
        let settings = format!("{settings}, approvers = [\"group:dba\"]");
        gateway = gateway.target(name, &database).policy("hold-for-approval", &settings);
    }
    let gateway = gateway.start();
    let mut wrong = Vec::new();
    for case in &CASES {
        let (mut wire, greeting) = Wire::login(&endpoint(&gateway, case));
        let key = greeting.into_iter().find(|message| message.tag == 'K').expect("a key for cancel requests").body;
        for sql in case.passes {
            let (held, errors) = ask(&mut wire, sql, || cancel(&gateway, &key));
            if held.is_some() || !errors.is_empty() {
                wrong.push(format!("{}: {sql}: {held:?} {errors:?}", case.name));
            }
        }
        for (sql, why) in case.held {
            let (held, errors) = ask(&mut wire, sql, || cancel(&gateway, &key));
            if held.as_ref().is_none_or(|reason| !reason.contains(why)) || errors != ["57014"] {
                wrong.push(format!("{}: {sql}: {held:?} {errors:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "these are not judged as they should be:\n{}", wrong.join("\n"));
    what_nobody_understands_runs_once_approved(&gateway);
}

/// The server then says what it thinks of it.
fn what_nobody_understands_runs_once_approved(gateway: &Gateway) {
    let (mut wire, _) = Wire::login(&endpoint(gateway, &UNANALYSABLE));
    wire.send('Q', &zero_ended(ODD));
    approve(gateway, &notice_id(&wire.read_until("N")));
    assert_eq!(errors_of(&wire.read_until("Z")), ["42601"]);
    // Elsewhere it is refused at once.
    let refused = endpoint(gateway, &CLASSES).psql_one(ODD).failed();
    assert!(refused.contains("42501") && refused.contains("hold-for-approval"), "{refused}");
}

fn endpoint(gateway: &Gateway, case: &Case) -> Endpoint {
    Endpoint { database: case.name.to_owned(), ..gateway.alice() }
}

/// Sends a statement. Where it is held, cancels it and returns what the client was told; with the errors.
fn ask(wire: &mut Wire, sql: &str, cancel: impl FnOnce()) -> (Option<String>, Vec<String>) {
    wire.send('Q', &zero_ended(sql));
    let mut messages = wire.read_until("NZ");
    let told = messages.last().filter(|message| message.tag == 'N').and_then(|notice| notice.field('M'));
    let held = told.filter(|text| text.contains("waiting for approval"));
    if held.is_some() {
        cancel();
    }
    if messages.last().is_some_and(|message| message.tag == 'N') {
        messages.extend(wire.read_until("Z"));
    }
    (held, errors_of(&messages))
}

fn cancel(gateway: &Gateway, key: &[u8]) {
    let mut other = Wire::connect(gateway.port());
    other.send_packet(&[&code::CANCEL.to_be_bytes()[..], key].concat());
    assert!(other.is_closed_by_server());
}
