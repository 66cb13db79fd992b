//! `[vault]`, and the sources of secrets: what is read, and what is refused with which words.

use sluicegate_core::secret::{Helper, SecretSource};

use super::{keys::with, *};

const VAULT: &str = "[vault]\naddress = \"https://vault.example.com:8200\"\n";
const TOKEN: &str = "token = { file = \"vault-token\" }\n";
const PASSWORD: &str = "password = { file = \"secrets/orders\" }";
const LENT: &str = "credentials = { vault = \"database/creds/orders\" }";

#[test]
fn every_key_is_read_and_paths_start_from_the_folder() {
    let text = with("", &format!("{VAULT}ca = \"vault-ca.pem\"\nnamespace = \"team\"\n{TOKEN}"));
    let text = text.replace(PASSWORD, "password = { vault = \"secret/data/orders\", key = \"app\" }");
    let Loaded { config, report, .. } = load(&text);
    assert_eq!(report.render(), "");
    let config = config.unwrap();
    let vault = config.vault.unwrap().config;
    assert_eq!(vault.address, "https://vault.example.com:8200".parse().unwrap());
    assert_eq!(vault.ca.as_deref(), Some(Path::new("/etc/gate/vault-ca.pem")));
    assert_eq!(vault.namespace.as_deref(), Some("team"));
    assert_eq!(vault.token, SecretSource::File("/etc/gate/vault-token".into()));
    assert!(load(GOOD).config.unwrap().vault.is_none());
    let exec = GOOD.replace(PASSWORD, "password = { exec = [\"bin/helper\", \"orders\"] }");
    let config = load(&exec).config.unwrap();
    let helper = Helper { program: "/etc/gate/bin/helper".into(), arguments: vec!["orders".to_owned()] };
    assert_eq!(config.targets[0].settings.secrets(), [("password", &SecretSource::Exec(helper))]);
}

#[test]
fn what_is_wrong_is_said() {
    let vault = |lines: &str| with("", lines);
    let lent = GOOD.replace("username = \"app\"\n", "").replace(PASSWORD, LENT);
    let kept = GOOD.replace(PASSWORD, "password = { vault = \"secret/data/orders\" }");
    for (text, said) in [
        (vault(VAULT), "missing key `token`"),
        (vault(&format!("[vault]\n{TOKEN}")), "missing key `address`"),
        (vault(&format!("{VAULT}token = {{ vault = \"secret/data/x\" }}")), "cannot be in Vault itself"),
        (vault(&format!("{VAULT}{TOKEN}adress = 1")), "unknown key `adress` in [vault]"),
        (vault(&format!("[vault]\naddress = \"http://10.0.0.1:8200\"\n{TOKEN}")), "must be https://"),
        (lent, "this is a place in Vault, and there is no [vault]"),
        (kept, "this is a place in Vault, and there is no [vault]"),
        (GOOD.replace(PASSWORD, LENT), "here are both; remove one"),
        (
            GOOD.replace(PASSWORD, "password = { exec = \"helper\" }"),
            "names one source: `env`, `file`, `exec` or `vault`",
        ),
        (GOOD.replace(PASSWORD, "password = { exec = [] }"), "`exec` is a list of a program and its arguments"),
        (GOOD.replace(PASSWORD, "password = { vault = \"/secret\" }"), "a path in Vault is what follows `/v1/`"),
        (GOOD.replace(PASSWORD, "password = { file = \"x\", key = \"y\" }"), "names one source"),
    ] {
        let report = rendered(&text);
        assert!(report.contains(said) && load(&text).config.is_none(), "{said}: {report}");
    }
}

#[test]
fn a_secret_is_never_shown_wherever_it_is_written() {
    for wrong in [
        with("", &format!("{VAULT}token = \"hunter2\"")),
        with("", &format!("{VAULT}token = {{ text = \"hunter2\" }}")),
        with("", &format!("{VAULT}tokn = \"hunter2\"")),
        with("", &format!("[vault]\naddress = \"https://gate:hunter2@vault.example.com\"\n{TOKEN}")),
        with("", &format!("[vault]\naddress = \"http://gate:hunter2@10.0.0.1\"\n{TOKEN}")),
        GOOD.replace(PASSWORD, "credentials = \"hunter2\""),
        GOOD.replace(PASSWORD, "credentials = { vault = \"x\", password = \"hunter2\" }"),
        GOOD.replace(PASSWORD, "credentials = { token = \"hunter2\" }"),
        GOOD.replace(PASSWORD, "password = { exec = \"helper hunter2\" }"),
    ] {
        let loaded = load(&wrong);
        let json = serde_json::to_string(&loaded.report.findings()).unwrap();
        let text = loaded.report.render();
        assert!(loaded.config.is_none(), "{wrong}");
        assert!(!text.contains("hunter2") && !json.contains("hunter2"), "{text}{json}");
    }
}
