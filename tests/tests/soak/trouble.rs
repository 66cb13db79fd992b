//! What operators and accidents do while clients work: policies replaced, broken ones dropped in, and
//! configurations changed, for good and for ill.

use std::{process::Command, time::Duration};

use sluicegate_tests::{Gateway, policies::shipped};

use crate::stage::Stage;

/// Between two of them.
const PACE: Duration = Duration::from_secs(4);

/// The section's number of a custom section, which means nothing to whoever runs a component.
const CUSTOM: u8 = 0;

pub fn until_stopped(stage: &Stage<'_>, gateway: &mut Gateway) {
    let good = gateway.config().to_owned();
    for number in 0_u32.. {
        for _ in 0..PACE.as_millis() / 100 {
            if stage.is_stopped() {
                // The clients of the last rounds end under what is in force.
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let name = ["pii-mask", "sql-guard", "hold-for-approval"][number as usize / 6 % 3];
        match number % 6 {
            0 => stage.attempt("policy replaced", || replace(gateway, name, number)),
            1 => stage.attempt("broken policy", || {
                refused(gateway, |gateway| gateway.deploy(name, &shipped(name)[..4000]));
                replace(gateway, name, number);
            }),
            2 => {
                let other = good.replace("detect = [\"card\"]", "detect = [\"card\", \"iban\"]");
                stage.attempt("configuration changed", || taken(gateway, |gateway| gateway.configure(other)));
            }
            3 => {
                let broken = good.replace("columns =", "colums =");
                stage.attempt("broken configuration", || refused(gateway, |gateway| gateway.configure(broken)));
            }
            4 => stage.attempt("configuration restored", || gateway.configure(good.clone())),
            _ => stage.attempt("hangup", || {
                let sent = Command::new("kill").args(["-HUP", &gateway.id().to_string()]).status();
                assert!(sent.expect("kill is a program").success());
            }),
        }
    }
}

/// The same policy as a file that is not the same, so that it is loaded anew.
fn replace(gateway: &mut Gateway, name: &str, number: u32) {
    let mut module = shipped(name);
    let text = format!("soaked {number:>6}");
    module.extend([
        CUSTOM,
        u8::try_from(text.len() + 1).expect("a short text"),
        u8::try_from(text.len()).expect("a short text"),
    ]);
    module.extend(text.bytes());
    taken(gateway, |gateway| gateway.deploy(name, &module));
}

fn taken(gateway: &mut Gateway, act: impl FnOnce(&mut Gateway)) {
    let from = gateway.log().len();
    act(gateway);
    gateway.wait_for_log(from, " INFO ");
}

fn refused(gateway: &mut Gateway, act: impl FnOnce(&mut Gateway)) {
    let from = gateway.log().len();
    act(gateway);
    gateway.wait_for_log(from, "ERROR");
}
