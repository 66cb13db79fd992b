//! What people see when a configuration is wrong, word for word and place for place.

mod connections;
mod keys;
mod vault;

use std::path::Path;

use super::{
    Loaded,
    parse::{data_dir, parse},
};

const HASH: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

const GOOD: &str = r#"data_dir = "state"
recording = "strict"
[listen]
postgres = "127.0.0.1:15432"
[[identity.user]]
name = "alice"
groups = ["engineering"]
secret_hash = "HASH"
[[target]]
name = "orders"
protocol = "postgres"
address = "127.0.0.1:5432"
database = "orders"
username = "app"
password = { file = "secrets/orders" }
allow = ["group:engineering", "user:alice"]
[[target.policy]]
module = "pii-mask"
settings = { columns = ["*.ssn"], limits = { rows = 5 } }
[[target.policy]]
module = "sql-guard"
mode = "monitor"
"#;

fn load(text: &str) -> Loaded {
    parse(Path::new("/etc/gate/sluicegate.toml"), text.replace("HASH", HASH))
}

fn rendered(text: &str) -> String {
    let loaded = load(text);
    anstream::adapter::strip_str(&loaded.report.render()).to_string().replace("/etc/gate/", "")
}

#[test]
fn a_good_file_is_read_and_its_paths_start_from_its_folder() {
    let Loaded { config, report, .. } = load(GOOD);
    assert_eq!(report.render(), "");
    let config = config.unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/gate/state"));
    assert_eq!(config.policies.dir, Path::new("/etc/gate/policies"));
    let target = &config.targets[0];
    assert_eq!((target.name.as_str(), target.protocol.name), ("orders", "postgres"));
    assert_eq!(target.allow.len(), 2);
    let [mask, guard] = &target.bindings[..] else { panic!("two bindings") };
    assert_eq!(mask.settings, serde_json::json!({ "columns": ["*.ssn"], "limits": { "rows": 5 } }));
    assert_eq!(guard.mode, sluicegate_core::policy::Mode::Monitor);
    let secrets = target.settings.secrets();
    assert!(format!("{secrets:?}").contains("/etc/gate/secrets/orders"), "{secrets:?}");
}

#[test]
fn an_unknown_key_is_named_with_the_one_that_was_meant() {
    let text = "[listen]\npostgres = \"127.0.0.1:1\"\n\n[policies]\ndri = \"p\"\n";
    let expected = "\
error: unknown key `dri` in [policies]
 --> sluicegate.toml:5:1
  |
5 | dri = ...
  | ^^^
  = help: did you mean `dir`?

";
    assert_eq!(rendered(text), expected);
}

#[test]
fn every_mistake_is_reported_at_once_in_the_file_s_order() {
    let text = r#"recording = "strickt"
polices = {}
[[identity.oidc]]
issuer = "https://id.example.com"
[listen]
postgres = "0.0.0.0:15432"
mysql = "127.0.0.1:1"
[[identity.user]]
name = "alice"
secret_hash = "HASH"
[[identity.user]]
name = "alice"
secret_hash = "HASH"
[[target]]
name = "orders"
protocol = "postgre"
[[target]]
name = "billing"
protocol = "postgres"
address = "127.0.0.1:5432"
database = "orders"
username = "app"
allow = ["engineering"]
connect_timeout = "5"
recording = "strict"
[[target.policy]]
module = "pii-mask.wasm"
settings = { since = 2020-01-01 }
"#;
    let places: Vec<(usize, String)> = load(text)
        .report
        .findings()
        .iter()
        .map(|f| serde_json::to_value(f).unwrap())
        .map(|f| (usize::try_from(f["line"].as_u64().unwrap()).unwrap(), f["message"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        (1, "unknown value `strickt`, expected `ordered` or `strict`"),
        (2, "unknown key `polices` at the top of the file"),
        (3, "missing key `audience`"),
        (6, "0.0.0.0:15432 can be reached from other machines, and there is no [tls]"),
        (7, "unknown key `mysql` in [listen]"),
        (12, "the user `alice` is defined twice"),
        (16, "the protocol `postgre` is not supported by this version of Sluicegate"),
        (
            23,
            "`engineering` names nobody: write `user:NAME` or `group:NAME`, or for tokens `issuer:URL`, `subject:NAME` or `claim:NAME=VALUE`",
        ),
        (24, "invalid type: string \"5\", expected u64"),
        (25, "unknown key `recording` in this target"),
        (27, "`module` is a module's name, of letters, digits, `-` and `_`"),
        (28, "settings are handed to the policy as JSON, which has no dates"),
    ];
    assert_eq!(places, expected.map(|(line, message)| (line, message.to_owned())));
}

#[test]
fn a_target_nobody_can_reach_is_a_warning() {
    let text = GOOD.replace("allow = [\"group:engineering\", \"user:alice\"]", "allow = [\"group:enginering\"]");
    let expected = "\
warning: no user belongs to the group `enginering`, so `group:enginering` lets nobody in
  --> sluicegate.toml:16:10
   |
16 | allow = [\"group:enginering\"]
   |          ^^^^^^^^^^^^^^^^^^

";
    assert_eq!(rendered(&text), expected);
    assert!(load(&text).config.is_some());
    let nobody = GOOD.replace("allow = [\"group:engineering\", \"user:alice\"]\n", "");
    assert!(rendered(&nobody).starts_with("warning: nobody can use the target `orders`\n  --> sluicegate.toml:10:8\n"));
}

#[test]
fn a_secret_in_the_file_is_never_shown() {
    for wrong in [
        GOOD.replace("password = { file = \"secrets/orders\" }", "password = \"hunter2\""),
        GOOD.replace("password = { file = \"secrets/orders\" }", "pasword = \"hunter2\""),
        GOOD.replace("password = { file = \"secrets/orders\" }", "password = hunter2"),
        GOOD.replace("password = { file = \"secrets/orders\" }", "password = \"hunter2"),
        GOOD.replace("password = { file = \"secrets/orders\" }", "password = { value = \"hunter2\" }"),
        GOOD.replace("\"HASH\"", "\"hunter2\""),
        GOOD.replace("secret_hash = \"HASH\"", "secret = \"hunter2\""),
    ] {
        let loaded = load(&wrong);
        let json = serde_json::to_string(&loaded.report.findings()).unwrap();
        let text = loaded.report.render();
        assert!(loaded.config.is_none(), "{wrong}");
        assert!(!text.contains("hunter2") && !json.contains("hunter2"), "{text}{json}");
    }
}

#[test]
fn a_missing_key_points_at_its_section() {
    let text = GOOD.replace("database = \"orders\"\n", "");
    assert!(
        rendered(&text).starts_with("error: missing key `database`\n --> sluicegate.toml:9:1\n"),
        "{}",
        rendered(&text)
    );
}

#[test]
fn a_syntax_error_has_its_place_and_nothing_else_is_said() {
    let text = GOOD.replace("protocol = \"postgres\"", "protocol = postgres");
    let report = rendered(&text);
    assert!(report.contains("sluicegate.toml:11:"), "{report}");
    assert_eq!(report.matches("error").count(), 1, "{report}");
}

#[test]
fn other_machines_need_tls_or_leave_to_do_without() {
    let open = GOOD.replace("127.0.0.1:15432", "0.0.0.0:15432");
    assert!(
        rendered(&open).starts_with("error: 0.0.0.0:15432 can be reached from other machines, and there is no [tls]\n")
    );
    assert!(load(&format!("allow_plaintext = true\n{open}")).config.unwrap().allow_plaintext);
    let misplaced = open.replace("[listen]\n", "[listen]\nallow_plaintext = true\n");
    assert!(rendered(&misplaced).contains("`allow_plaintext` belongs at the top of the file"));
}

#[test]
fn what_the_file_points_to_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(folder.path().join("policies/pii-mask.wasm"), "no module").unwrap();
    let text = GOOD.replace("HASH", HASH).replace("\"sql-guard\"", "\"pii-musk\"");
    let Loaded { config, mut report, .. } = parse(&folder.path().join("sluicegate.toml"), text);
    let config = config.unwrap();
    super::check_files(&config, &mut report);
    super::check_policies(&config, &mut report).unwrap();
    let said = report.plain().replace(&folder.path().display().to_string(), "");
    let problems: Vec<&str> = said.lines().filter(|line| line.contains("error: ")).collect();
    let [secret, refused, missing] = problems[..] else { panic!("three problems: {said}") };
    assert!(secret.contains("the secret file `/secrets/orders` cannot be used"), "{secret}");
    assert!(refused.contains("the policy `pii-mask` is refused"), "{refused}");
    assert!(missing.contains("there is no module `pii-musk`"), "{missing}");
    assert!(said.contains("/sluicegate.toml:15:12\n") && said.contains("did you mean `pii-mask`?"), "{said}");
    assert!(!folder.path().join("state").exists(), "a check leaves no data folder behind");
}

#[test]
fn common_mistakes_are_answered_with_what_to_write() {
    let password = "password = { file = \"secrets/orders\" }";
    let allow = "allow = [\"group:engineering\", \"user:alice\"]";
    for (right, wrong, help) in [
        ("127.0.0.1:15432", "::1:25432", "write `[::1]:25432`"),
        ("127.0.0.1:15432", "localhost:25432", "write `127.0.0.1:25432`"),
        ("127.0.0.1:15432", ":25432", "write `0.0.0.0:25432`"),
        ("[listen]", "[policy]\n[listen]", "did you mean `policies`?"),
        ("secret_hash", "password_hash", "did you mean `secret_hash`?"),
        ("username", "user", "did you mean `username`?"),
        (allow, "allow = \"group:engineering\"", "write `allow = [\"group:engineering\"]`"),
        (password, "password = { env = \"${ORDERS}\" }", "write `password = { env = \"ORDERS\" }`"),
        (password, "password = { env = \"A\", file = \"b\" }", "write `password = { env = \"NAME\" }`"),
    ] {
        let report = rendered(&GOOD.replacen(right, wrong, 1));
        assert!(report.contains(help), "{wrong}: {report}");
    }
}

#[test]
fn a_gateway_without_users_or_targets_is_a_warning() {
    let text = "[listen]\npostgres = \"127.0.0.1:15432\"\n";
    let report = rendered(text);
    assert!(report.contains("warning: there are no users") && report.contains("warning: there are no targets"));
    assert!(load(text).config.is_some(), "{report}");
}

#[test]
fn the_data_folder_is_found_whatever_else_is_wrong() {
    let found = |text: &str| data_dir(Path::new("/etc/gate/sluicegate.toml"), text);
    let state = Some(Path::new("/etc/gate/state").to_owned());
    assert_eq!(found(GOOD), state);
    for wrong in ["[listen]", "protocol = \"postgres\"", "secret_hash = \"HASH\""] {
        assert_eq!(found(&GOOD.replace(wrong, &wrong[..wrong.len() - 1])), state, "{wrong}");
    }
    assert_eq!(found("[listen\n"), Some(Path::new("/etc/gate/data").to_owned()));
    for unknown in ["data_dir = ", "data_dir = state", "data_dir = \"state", "data_dir = 5", "data_dir \"state\""] {
        assert_eq!(found(&format!("{unknown}\n[listen]\n")), None, "{unknown}");
    }
}

#[test]
fn files_are_checked_although_the_text_has_errors() {
    let folder = tempfile::tempdir().unwrap();
    let text = GOOD.replace("secret_hash = \"HASH\"", "secret_hash = \"$argon2id$...\"");
    let Loaded { config, refused, mut report } = parse(&folder.path().join("sluicegate.toml"), text);
    assert!(config.is_none());
    super::check_files(&refused.unwrap(), &mut report);
    let said = report.plain();
    assert!(
        said.contains("`secret_hash` of user `alice`") && said.contains("secrets/orders` cannot be used"),
        "{said}"
    );
}

#[test]
fn a_certificate_s_problem_stands_at_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}[tls]\nkey = \"gate.key\"\ncert = \"gate.pem\"\n", GOOD.replace("HASH", HASH));
    let Loaded { config, mut report, .. } = parse(&folder.path().join("sluicegate.toml"), text);
    super::check_files(&config.unwrap(), &mut report);
    assert!(report.plain().contains("sluicegate.toml:25:8\n"), "{}", report.plain());
}
