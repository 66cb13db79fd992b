//! Which files are taken, how refusals are told, and what the cache of compiled code trusts.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::json;
use sluicegate_core::policy::Mode;
use sluicegate_policy_engine::{PolicyHost, PolicyState, check};

use crate::support::*;

/// Binds a file and returns why it is refused.
fn refusal(bytes: &[u8]) -> String {
    let fixture = Fixture::new();
    fixture.put("probe", bytes);
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({}))]);
    let (ruling, _) = ask(&mut fixture.open(), &select());
    let status = fixture.status("probe");
    let PolicyState::Rejected { reason: told } = &status.state else { panic!("{:?}", status.state) };
    assert_eq!(reason(&ruling), format!("the policy is not in force: {told}"));
    assert_eq!(status.rejected.as_ref().map(|r| &r.reason), Some(told));
    told.clone()
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn files_that_are_no_policies_are_refused_with_the_reason() {
    assert!(refusal(b"hello").starts_with("it is not valid WebAssembly: "));
    for empty in ["(module)", "(component)"] {
        assert_eq!(refusal(&component(empty)), "it does not export `sluicegate:policy/guest`, so it is not a policy");
    }
    let foreign = refusal(&component(r#"(module (import "env" "now" (func)))"#));
    assert!(foreign.starts_with("it is a core module that could not be made a component: "), "{foreign}");
    let damaged = refusal(&component(r#"(module (@custom "component-type:x" "\00\61\73\6d"))"#));
    assert!(damaged.starts_with("it is "), "{damaged}");
    assert_eq!(
        refusal(&component(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#)),
        "it imports `wasi:cli/environment@0.2.0`; a policy may import nothing but `sluicegate:policy`"
    );
    assert_eq!(
        refusal(&component(r#"(component (import "sluicegate:policy/host@0.2.0" (instance)))"#)),
        "it was made for the contract `sluicegate:policy/host@0.2.0`, and this gateway speaks 0.1.x; \
         build it again with a matching SDK"
    );
    let newer = r#"(component
        (import "sluicegate:policy/host@0.1.9" (instance (export "random" (func (result u32)))))
        (component $none) (instance $guest (instantiate $none))
        (export "sluicegate:policy/guest@0.1.9" (instance $guest)))"#;
    let told = refusal(&component(newer));
    assert!(told.starts_with("it does not fit the contract: ") && told.contains("random"), "{told}");
}

#[test]
fn a_component_is_taken_as_well_as_a_core_module() {
    let component = wit_component::ComponentEncoder::default().module(&probe()).unwrap().encode().unwrap();
    let fixture = Fixture::new();
    fixture.put("probe", &component);
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({ "command": "no" }))]);
    assert_eq!(reason(&ask(&mut fixture.open(), &select()).0), "no");
    let status = fixture.status("probe");
    assert_eq!((status.name.as_str(), status.version.as_str()), ("probe", "1.0.0"));
}

#[test]
fn a_missing_policy_blocks_until_its_file_is_there() {
    let fixture = Fixture::new();
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({ "opened": "no", "command": "asked" }))]);
    assert_eq!(fixture.status("probe").state, PolicyState::Missing);
    let mut session = fixture.open();
    assert!(session.may_mask());
    assert_eq!(session.governing(), [("probe".to_owned(), String::new())]);
    assert!(session.opened().denial.is_none());
    assert!(reason(&ask(&mut session, &select()).0).contains("there is no file probe.wasm in "));
    fixture.put("probe", &probe());
    fixture.wait("the file", |status| status.state == PolicyState::Active);
    // The policy was not there to be asked when the session opened, so it is asked now.
    assert_eq!(reason(&ask(&mut session, &select()).0), "no alice");
}

#[test]
fn settings_are_refused_in_the_policys_own_words() {
    let fixture = Fixture::new();
    fixture.put("probe", &probe());
    let bad = binding("probe", Mode::Enforce, json!({ "refuse": "there is no column `x`" }));
    let good = binding("probe", Mode::Enforce, json!({}));
    let bound = targets(vec![good.clone(), bad, binding("../probe", Mode::Enforce, json!({}))]);
    let problems = check(&config(fixture.folder.path()), &bound).unwrap();
    assert_eq!(problems.iter().map(|p| p.index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(problems[0].reason, "it refused its settings: there is no column `x`");
    assert!(problems[1].reason.contains("is not a plain file name"), "{}", problems[1].reason);
    fixture.bind(vec![good]);
    let error = fixture.host.apply(bound).unwrap_err();
    assert_eq!(error.problems.len(), 2);
    assert!(ask(&mut fixture.open(), &select()).0.denial.is_none(), "the bindings before are still in force");
}

fn cached(fixture: &Fixture) -> PathBuf {
    let mut entries = fs::read_dir(fixture.folder.path().join("data/cache")).unwrap();
    entries.next().expect("nothing was kept").unwrap().path()
}

/// Starts another engine over the same folders and asks it.
fn restarted(fixture: &Fixture) -> String {
    let host = PolicyHost::start(config(fixture.folder.path())).unwrap();
    host.apply(targets(vec![binding("probe", Mode::Enforce, json!({ "command": "still here" }))])).unwrap();
    let mut session = sluicegate_core::policy::PolicyEngine::open(&*host, session());
    reason(&ask(&mut session, &select()).0).to_owned()
}

#[test]
fn the_cache_is_private_and_a_bad_entry_is_compiled_again() {
    let fixture = Fixture::probing(json!({}));
    let data = fixture.folder.path().join("data");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data.join("cache")), 0o700);
    assert_eq!(mode(data.join("policy-cache.key")), 0o600);
    assert_eq!(mode(cached(&fixture)), 0o600);
    let entry = cached(&fixture);
    let good = fs::read(&entry).unwrap();

    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [flipped, good[..20].to_vec(), Vec::new()] {
        fs::write(&entry, bad).unwrap();
        assert_eq!(restarted(&fixture), "still here");
        assert_eq!(fs::read(&entry).unwrap().len(), good.len(), "the entry was made again");
    }
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(restarted(&fixture), "still here");
    assert_eq!(mode(entry.clone()), 0o600, "an entry open to others is not used");

    fs::write(data.join("policy-cache.key"), [7; 32]).unwrap();
    assert_eq!(restarted(&fixture), "still here");
    assert_ne!(fs::read(&entry).unwrap(), good, "an entry under another key is not used");
}

#[test]
fn a_cache_entry_of_another_module_is_not_taken() {
    let fixture = Fixture::probing(json!({}));
    let probes = cached(&fixture);
    let other = Fixture::new();
    other.put("probe", &narrow());
    other.bind(vec![binding("probe", Mode::Enforce, json!({}))]);
    let narrows = cached(&other);
    // As if somebody had put the code of one policy in the place of the other's.
    fs::copy(&narrows, &probes).unwrap();
    fs::copy(other.folder.path().join("data/policy-cache.key"), fixture.folder.path().join("data/policy-cache.key"))
        .unwrap();
    assert_eq!(restarted(&fixture), "still here");
}
