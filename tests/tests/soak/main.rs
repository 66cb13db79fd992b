//! The soak: a real PostgreSQL and the gateway with the three shipped policies, under everything that
//! clients, operators and accidents do to it at once, for as many minutes as `SOAK_MINUTES` says. It ends
//! with a verdict: nobody saw an error that was not provoked, memory is flat, handles and threads are
//! back where they were, and every session is proven by its record. `just soak` runs it.

mod clients;
mod driver;
mod holds;
mod record;
mod samples;
mod stage;
mod trouble;

use std::time::{Duration, Instant};

use samples::Samples;
use sluicegate_tests::{Gateway, Postgres};
use stage::Stage;

/// How long it runs where `SOAK_MINUTES` does not say.
const MINUTES: f64 = 20.0;

/// Between two samples of the gateway's memory and handles.
const PACE: Duration = Duration::from_secs(3);

/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(30);

#[test]
#[ignore = "takes 20 minutes; `just soak` runs it"]
fn the_gateway_stays_as_it_is_whatever_is_done_to_it() {
    let minutes = std::env::var("SOAK_MINUTES").map_or(MINUTES, |text| text.parse().expect("SOAK_MINUTES is a number"));
    let length = Duration::from_secs_f64(minutes * 60.0);
    let database = Postgres::shared().database();
    stage::furnish(&database);
    let mut gateway = gateway(&database);
    let stage = Stage::new(&gateway, &database);

    println!("soak: one round of everything, to see where handles and threads stand without clients");
    stage.once();
    let base = samples::at_rest(&gateway);
    println!("soak: at rest: {base}");
    let mut samples = Samples::new(gateway.id(), length);
    let started = Instant::now();
    std::thread::scope(|scope| {
        // However this ends, the clients end with it.
        let _stop = stage.stop_at_end();
        let stage = &stage;
        for (name, round) in stage::ROUNDS {
            scope.spawn(move || stage.until_stopped(name, round));
        }
        let gateway = &mut gateway;
        scope.spawn(move || trouble::until_stopped(stage, gateway));
        let mut reported = Instant::now();
        while started.elapsed() < length {
            std::thread::sleep(PACE.min(length.saturating_sub(started.elapsed())));
            samples.take(started.elapsed());
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                println!(
                    "soak: {:>4} s of {:.0}: {}; {}",
                    started.elapsed().as_secs(),
                    length.as_secs_f64(),
                    samples.last(),
                    stage.tally()
                );
            }
        }
    });
    println!("soak: the clients are gone after {:.0} s: {}", started.elapsed().as_secs_f64(), stage.tally());

    let mut failures = stage.unexpected();
    failures.extend(samples.judge());
    failures.extend(samples::is_back(&gateway, &base));
    failures.extend(record::unproven(&gateway));
    failures.extend(stage::loud_lines(&gateway.log()));
    assert!(gateway.stop(Duration::from_secs(30)), "the gateway does not stop when it is asked to");
    assert!(failures.is_empty(), "the soak failed:\n{}", failures.join("\n"));
    println!("soak: passed");
}

/// With the three shipped policies, and an API for approvers.
fn gateway(database: &sluicegate_tests::Database) -> Gateway {
    Gateway::before(database)
        .admin()
        .policy("pii-mask", r#"columns = ["*.ssn"], detect = ["card"], except = ["admin"]"#)
        .policy("sql-guard", r#"deny = ["drop", "truncate"], require_where = true"#)
        .policy("hold-for-approval", r#"when = { kinds = ["delete"], tables = ["orders"] }, approvers = ["group:dba"]"#)
        .start()
}
