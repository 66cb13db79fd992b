//! `[admin]`, `[approvals]`, `[record]` and what targets say about holds and retention: what is read,
//! and what is refused with which words.

use std::time::Duration;

use sluicegate_core::{approvals::ApprovalLimits, secret::SecretSource};
use sluicegate_postgres::config::HoldInTransaction;
use sluicegate_recorder::Retention;

use super::*;
use crate::{
    logging::{Format, Log},
    serve::ProtocolTarget,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A good file whose target says `target` too, and with `sections` at its end.
pub fn with(target: &str, sections: &str) -> String {
    GOOD.replace(
        "[[target.policy]]\nmodule = \"pii-mask\"",
        &format!("{target}\n[[target.policy]]\nmodule = \"pii-mask\""),
    ) + sections
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = load(GOOD).config.unwrap();
    assert!(config.admin.is_none() && config.approvals.webhook.is_none());
    assert!(config.log == Log::default() && config.telemetry.is_none());
    assert_eq!(config.approvals.limits, ApprovalLimits::default());
    assert_eq!((config.record.output, config.record.retention), (8 * 1024, Retention::default()));
    let target = &config.targets[0];
    let ProtocolTarget::Postgres(settings) = &target.settings;
    assert_eq!((settings.hold_in_transaction, target.retention), (HoldInTransaction::Allow, None));
    assert_eq!(settings.reuse, None);
    let admin = load(&with("", "[admin]\nadmins = [\"group:engineering\"]")).config.unwrap().admin.unwrap();
    assert_eq!(admin.listen.to_string(), "127.0.0.1:7400");
}

#[test]
fn every_key_is_read() {
    let text = with(
        "hold_in_transaction = \"deny\"\nretention = { age = \"7d\" }\nreuse = \"30s\"",
        r#"[admin]
listen = "[::1]:7500"
admins = ["group:engineering", "user:alice"]
metrics = ["user:alice"]
[log]
format = "json"
level = "info,sluicegate_postgres=debug"
[telemetry]
otlp_endpoint = "http://127.0.0.1:4318"
[approvals]
expires = "1h 30m"
max_pending = 7
max_pending_per_identity = 2
[approvals.webhook]
url = "https://chat.example.com/hooks/T0PS3CRET"
secret = { file = "hook.secret" }
[record]
output = "16KiB"
retention = { age = "90d", size = "10GiB" }
"#,
    );
    let Loaded { config, report, .. } = load(&text);
    assert_eq!(report.render(), "");
    let config = config.unwrap();
    let admin = config.admin.as_ref().unwrap();
    assert_eq!(admin.listen.to_string(), "[::1]:7500");
    assert_eq!(admin.admins.iter().map(ToString::to_string).collect::<Vec<_>>(), ["group:engineering", "user:alice"]);
    assert_eq!(admin.scrapers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["user:alice"]);
    let level = Some("info,sluicegate_postgres=debug".to_owned());
    assert_eq!(config.log, Log { format: Some(Format::Json), level });
    assert_eq!(config.telemetry.as_ref().unwrap().to_string(), "http://127.0.0.1:4318");
    let expected = ApprovalLimits {
        expires: Duration::from_secs(5400),
        max_pending: 7,
        max_pending_per_identity: 2,
        ..ApprovalLimits::default()
    };
    assert_eq!(config.approvals.limits, expected);
    let webhook = config.approvals.webhook.as_ref().unwrap();
    assert_eq!(webhook.url.as_str(), "https://chat.example.com/hooks/T0PS3CRET");
    assert_eq!(webhook.secret, SecretSource::File("/etc/gate/hook.secret".into()));
    assert!(!format!("{webhook:?}").contains("T0PS3CRET"), "{webhook:?}");
    assert_eq!(config.record.output, 16 * 1024);
    assert_eq!(config.record.retention, Retention { age: Some(90 * DAY), size: Some(10 << 30) });
    let target = &config.targets[0];
    let ProtocolTarget::Postgres(settings) = &target.settings;
    assert_eq!(settings.hold_in_transaction, HoldInTransaction::Deny);
    assert_eq!(settings.reuse, Some(Duration::from_secs(30)));
    assert_eq!(target.retention, Some(Retention { age: Some(7 * DAY), size: None }));
}

#[test]
fn bounds_themselves_are_fine() {
    for (target, sections) in [
        ("", "[approvals]\nexpires = \"1s\"\nmax_pending = 1"),
        ("", "[approvals]\nexpires = \"7d\"\nmax_pending = 10000\nmax_pending_per_identity = 10000"),
        ("", "[approvals.webhook]\nurl = \"http://localhost:1/\"\nsecret = { env = \"X\" }"),
        ("", "[approvals.webhook]\nurl = \"http://[::1]:1\"\nsecret = { env = \"X\" }"),
        ("", "[record]\noutput = 0"),
        ("", "[record]\noutput = \"64KiB\"\nretention = {}"),
        ("retention = { age = \"1d\", size = \"1MiB\" }", ""),
        ("retention = { age = \"100y\", size = \"1PiB\" }", ""),
    ] {
        let text = with(target, sections);
        assert_eq!(rendered(&text), "", "{text}");
    }
    let few = load(&with("", "[approvals]\nmax_pending = 5")).config.unwrap();
    assert_eq!(few.approvals.limits.max_pending_per_identity, 5);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let of_url = |url: &str| format!("[approvals.webhook]\nurl = \"{url}\"\nsecret = {{ env = \"X\" }}");
    for (sections, line, message) in [
        ("[admin]\nlistn = \"127.0.0.1:1\"", 2, "unknown key `listn` in [admin]"),
        (
            "[admin]\nlisten = \"0.0.0.0:7400\"",
            2,
            "0.0.0.0:7400 can be reached from other machines, and there is no [tls]",
        ),
        ("[admin]\nlisten = 7400", 2, "invalid type: integer `7400`, expected a string"),
        (
            "[admin]\nlisten = \"127.0.0.1:15432\"",
            2,
            "the API of [admin] cannot listen on 127.0.0.1:15432, because postgres does",
        ),
        ("[admin]\nadmins = \"group:engineering\"", 2, "`admins` is a list"),
        (
            "[admin]\nadmins = [\"engineering\"]",
            2,
            "`engineering` names nobody: write `user:NAME` or `group:NAME`, or for tokens `issuer:URL`, `subject:NAME` or `claim:NAME=VALUE`",
        ),
        (
            "[admin]\nmetrics = [\"monitoring\"]",
            2,
            "`monitoring` names nobody: write `user:NAME` or `group:NAME`, or for tokens `issuer:URL`, `subject:NAME` or `claim:NAME=VALUE`",
        ),
        ("[log]\nformat = \"xml\"", 2, "unknown value `xml`, expected `text` or `json`"),
        ("[log]\nlevel = \"=x=y\"", 2, "this is not a log level"),
        ("[telemetry]\notlp_endpoint = \"http://c:4318\"\notlp = 1", 3, "unknown key `otlp` in [telemetry]"),
        ("[telemetry]\notlp_endpoint = \"c:4318\"", 2, "this is no URL that begins with http:// or https://"),
        (
            "[telemetry]\notlp_endpoint = \"http://gate:hunter2@c:4318\"",
            2,
            "`otlp_endpoint` holds a user or a password",
        ),
        ("[approvals]\nexpire = \"1h\"", 2, "unknown key `expire` in [approvals]"),
        (
            "[approvals]\nexpires = 3600",
            2,
            "invalid type: integer `3600`, expected a length of time: write a number and a unit, such as \"30m\", \"1h 30m\" or \"90d\"",
        ),
        (
            "[approvals]\nexpires = \"soon\"",
            2,
            "`soon` is not a length of time: write a number and a unit, such as \"30m\", \"1h 30m\" or \"90d\"",
        ),
        ("[approvals]\nexpires = \"500ms\"", 2, "`expires` is between 1s and 7days, and this is 500ms"),
        ("[approvals]\nexpires = \"8d\"", 2, "`expires` is between 1s and 7days, and this is 8days"),
        ("[approvals]\nmax_pending = 0", 2, "`max_pending` is between 1 and 10000, and this is 0"),
        (
            "[approvals]\nmax_pending_per_identity = 1001",
            2,
            "`max_pending_per_identity` is between 1 and 1000, and this is 1001",
        ),
        ("[approvals.webhook]\nurl = \"https://chat.example.com\"", 1, "missing key `secret`"),
        (&of_url("chat.example.com"), 2, "the webhook's `url` is not a URL"),
        (&of_url("ftp://127.0.0.1/"), 2, "the webhook's `url` is neither `https://` nor `http://`"),
        (&of_url("mailto:dba@example.com"), 2, "the webhook's `url` names no host"),
        (
            &of_url("http://chat.example.com/"),
            2,
            "the webhook's `url` leaves this machine without TLS, and commands that are held would be readable on the way",
        ),
        (&of_url("https://gate:hunter2@chat.example.com/"), 2, "the webhook's `url` holds a user or a password"),
        ("[record]\nretain = {}", 2, "unknown key `retain` in [record]"),
        (
            "[record]\noutput = \"8 kilo\"",
            2,
            "`8 kilo` is not a size: write a number and a unit, such as \"8KiB\" or \"10GiB\"",
        ),
        (
            "[record]\noutput = -1",
            2,
            "invalid type: integer `-1`, expected a size: write a number and a unit, such as \"8KiB\" or \"10GiB\"",
        ),
        ("[record]\noutput = \"65KiB\"", 2, "`output` is between 0 B and 64.0 KiB, and this is 65.0 KiB"),
        ("[record]\nretention = \"90d\"", 2, "`retention` is a table, and this is of type string"),
        ("[record]\nretention = { ages = \"90d\" }", 2, "unknown key `ages` in `retention`"),
        ("[record]\nretention = { age = \"90m\" }", 2, "`age` is between 1day and 100years, and this is 1h 30m"),
        (
            "[record]\nretention = { size = \"1023KiB\" }",
            2,
            "`size` is between 1.0 MiB and 1.0 PiB, and this is 1023.0 KiB",
        ),
    ] {
        let above = GOOD.lines().count();
        let report = load(&with("", sections).replace("\n\n[[target.policy]]", "\n[[target.policy]]")).report;
        let findings: Vec<_> = report.findings().iter().map(|f| serde_json::to_value(f).unwrap()).collect();
        let errors: Vec<_> = findings.iter().filter(|f| f["severity"] == "error").collect();
        let [found] = errors[..] else { panic!("{sections}: {}", report.plain()) };
        let place = usize::try_from(found["line"].as_u64().unwrap()).unwrap() - above;
        assert_eq!((place, found["message"].as_str().unwrap()), (line, message), "{}", report.plain());
        assert!(!report.plain().contains("hunter2"), "{}", report.plain());
    }
}

#[test]
fn what_targets_say_is_checked_too() {
    for (target, message) in [
        ("hold_in_transaction = true", "error: "),
        ("hold_in_transaction = \"never\"", "error: unknown value `never`, expected `allow` or `deny`"),
        ("reuse = \"2h\"", "error: `reuse` is `2h`, but must be 1s to 10min, such as `30s`"),
        ("reuse = 30", "error: "),
        ("retention = { size = 5 }", "error: `size` is between 1.0 MiB and 1.0 PiB, and this is 5 B"),
        ("retension = {}", "help: did you mean `retention`?"),
        ("hold = \"deny\"", "error: unknown key `hold` in this target"),
    ] {
        let text = with(target, "");
        assert!(rendered(&text).contains(message) && load(&text).config.is_none(), "{}", rendered(&text));
    }
}

#[test]
fn an_admin_nobody_can_be_is_a_warning() {
    let text = with("", "[admin]\nadmins = [\"group:admin\"]\n");
    let expected = "warning: no user belongs to the group `admin`, so `group:admin` makes nobody an admin\n";
    assert!(rendered(&text).starts_with(expected), "{}", rendered(&text));
    let nobody = with("", "[admin]\n");
    assert!(rendered(&nobody).starts_with("warning: nobody is an admin"), "{}", rendered(&nobody));
    assert!(load(&text).config.is_some() && load(&nobody).config.is_some());
}

#[test]
fn the_webhook_s_secret_is_never_shown() {
    let url = "url = \"https://chat.example.com/\"";
    for wrong in [
        format!("[approvals.webhook]\n{url}\nsecret = \"hunter2\""),
        format!("[approvals.webhook]\n{url}\nsceret = \"hunter2\""),
        format!("[approvals]\nwebhook = {{ {url}, secret = \"hunter2\" }}"),
        format!("[approvals]\nwebhook = {{ {url}, secret = {{ text = \"hunter2\" }} }}"),
        format!("[approvals]\nwebhook = {{ {url}, secret = {{ env = \"X\" }}, password = \"hunter2\" }}"),
        "[approvals]\nwebhook = { url = \"https://a:hunter2@chat.example.com/\", secret = { env = \"X\" } }".to_owned(),
    ] {
        let loaded = load(&with("", &wrong));
        let json = serde_json::to_string(&loaded.report.findings()).unwrap();
        let text = loaded.report.render();
        assert!(loaded.config.is_none(), "{wrong}");
        assert!(!text.contains("hunter2") && !json.contains("hunter2"), "{text}{json}");
    }
}

#[test]
fn what_a_url_holds_is_never_shown() {
    for wrong in [
        "[telemetry]\notlp_endpoint = \"http://gate:hunter2@c:4318\"",
        "[telemetry]\notlp_endpoint = \"gate:hunter2@c:4318\"",
        "[telemetry]\notlp_endpoint = \"http://c:4318/?key=hunter2\"",
        "[telemetry]\notlp_endpoint = [\"http://gate:hunter2@c:4318\"]",
        "[telemetry]\notlp_endpoint = { url = \"http://gate:hunter2@c:4318\" }",
        "[telemetry]\notlp_endpoint = \"http://gate:hunter2@c:4318",
        "[telemetry]\notlp_endpoints = \"http://gate:hunter2@c:4318\"",
        "telemetry = { otlp_endpoint = \"http://gate:hunter2@c:4318\", batch = 1 }",
        "[approvals]\nwebhook = { url = \"https://a:hunter2@chat.example.com/\", sceret = { env = \"X\" } }",
        "[approvals.webhook]\nurl = [\"https://a:hunter2@chat.example.com/\"]\nsecret = { env = \"X\" }",
    ] {
        let loaded = load(&with("", wrong));
        let json = serde_json::to_string(&loaded.report.findings()).unwrap();
        let text = loaded.report.render();
        assert!(loaded.config.is_none(), "{wrong}");
        assert!(!text.contains("hunter2") && !json.contains("hunter2"), "{text}{json}");
    }
    let told = load(&with("", "[telemetry]\notlp_endpoint = \"http://gate:hunter2@c:4318\"")).report.plain();
    assert!(told.contains("| otlp_endpoint = ...") && told.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{told}");
}

#[test]
fn the_webhook_s_secret_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let text = with("", "[approvals.webhook]\nurl = \"https://chat.example.com/\"\nsecret = { file = \"hook\" }\n");
    let said = |content: Option<&str>| {
        if let Some(content) = content {
            std::fs::write(folder.path().join("hook"), content).unwrap();
        }
        let loaded = parse(&folder.path().join("sluicegate.toml"), text.replace("HASH", HASH));
        let mut report = loaded.report;
        super::super::check_files(&loaded.config.unwrap(), &mut report);
        report.plain()
    };
    assert!(said(None).contains("/hook` cannot be used"), "{}", said(None));
    assert!(said(None).contains(&format!("sluicegate.toml:{}:10\n", text.lines().count())), "{}", said(None));
    assert!(said(Some("\n")).contains("it is empty"), "{}", said(Some("\n")));
    for wrong in ["sesame", "whsec_c2hvcnQ="] {
        assert!(said(Some(wrong)).contains("the webhook's secret must be `whsec_`"), "{wrong}");
    }
    assert!(!said(Some("whsec_c2lnbmVkLCBzZWFsZWQgYW5kIGRlbGl2ZXJlZCE=\n")).contains("webhook"));
}

#[test]
fn a_bare_name_is_taken_for_a_group_s() {
    for (written, meant) in [("admin", "group:admin"), ("user:ann", "user:ann")] {
        let report = load(&with("", &format!("[admin]\nadmins = \"{written}\""))).report;
        assert!(report.plain().contains(&format!("write `admins = [\"{meant}\"]`")), "{}", report.plain());
    }
}

/// A role with these lines beside its name.
fn role(lines: &str) -> String {
    with("labels = { env = \"prod\" }", &format!("[[role]]\nname = \"dba\"\n{lines}"))
}

#[test]
fn roles_and_labels_are_read() {
    let lines = r#"labels = { env = "prod", name = "*" }
members = ["user:alice"]
hours = ["mon-fri 08:00-18:00 Europe/Berlin"]
requesters = ["group:engineering"]
approvers = ["user:alice"]
min_approvals = 2
longest = "4h"
"#;
    let Loaded { config, report, .. } = load(&role(lines));
    assert_eq!(report.render(), "");
    let config = config.unwrap();
    assert_eq!(config.targets[0].labels["env"], "prod");
    let role = &config.roles[0];
    assert_eq!((role.name.as_str(), role.labels.len(), role.hours.len()), ("dba", 2, 1));
    assert_eq!((role.min_approvals, role.longest), (2, Duration::from_secs(4 * 3600)));
    assert_eq!(role.requesters, ["group:engineering".parse().unwrap()]);
    let Loaded { config, .. } = load(&self::role("labels = { name = \"*\" }\nmembers = [\"user:alice\"]"));
    let role = &config.unwrap().roles[0];
    assert_eq!((role.min_approvals, role.longest), (1, Duration::from_secs(3600)));
}

#[test]
fn what_is_wrong_with_a_role_is_said() {
    let members = "members = [\"user:alice\"]";
    let all = |more: &str| format!("labels = {{ env = \"prod\" }}\n{members}\n{more}");
    for (lines, said) in [
        (members.to_owned(), "missing key `labels`"),
        (format!("labels = {{}}\n{members}"), "the role `dba` has no labels, so it is for no target"),
        (format!("labels = {{ env = \"test\" }}\n{members}"), "no target has the labels of the role `dba`"),
        (all("hours = [\"always\"]"), "`always` is no time of the week"),
        (all("longest = \"59s\""), "`longest` is between 1m and 7days"),
        (all("min_approvals = 0"), "`min_approvals` is between 1 and 10"),
        (all("approvers = [\"user:alice\"]"), "nobody may ask for the role `dba`"),
        (all("requesters = [\"group:engineering\"]"), "nobody can grant the role `dba`"),
        (all("requesters = [\"group:nowhere\"]"), "no user belongs to the group `nowhere`"),
        (all("member = []"), "unknown key `member`"),
        ("labels = { env = \"prod\" }".to_owned(), "has no `members` and no `requesters`"),
        ("labels = { env = \"prod\" }\nhours = [\"mon 08:00-09:00\"]".to_owned(), "this one has none"),
        (all("[[role]]\nname = \"dba\"\nlabels = { env = \"prod\" }"), "the role `dba` is defined twice"),
        (all("[[role]]\nname = \"a b\"\nlabels = { env = \"prod\" }"), "a role's name has 1 to 63 bytes"),
    ] {
        let plain = load(&role(&lines)).report.plain();
        assert!(plain.contains(said), "{lines}\n{plain}");
    }
    for labels in ["{ name = \"x\" }", "{ env = \"*\" }", "{ env = \"\" }", "{ \"a b\" = \"x\" }"] {
        let plain = load(&with(&format!("labels = {labels}"), "")).report.plain();
        assert!(plain.contains("every target has the label") || plain.contains("a label and its value"), "{plain}");
    }
}

#[test]
fn who_answers_for_a_service_or_an_agent_is_a_person() {
    let user = |lines: &str| with("", &format!("[[identity.user]]\nname = \"bot\"\n{lines}"));
    assert_eq!(load(&user("kind = \"agent\"\nowner = \"alice\"")).report.plain(), "");
    for (lines, said) in [
        ("kind = \"agent\"", "has an `owner`"),
        ("owner = \"alice\"\nsecret_hash = \"HASH\"", "a person has none"),
        ("", "it has no `secret_hash`"),
        ("kind = \"agent\"\nowner = \"bot\"", "`bot` is no person"),
        ("kind = \"service\"\nowner = \"nobody\"", "there is no user `nobody`, so nobody answers for `bot`"),
        ("kind = \"robot\"\nowner = \"alice\"", "unknown value `robot`"),
    ] {
        let plain = load(&user(lines)).report.plain();
        assert!(plain.contains(said), "{lines}\n{plain}");
    }
}

#[test]
fn what_only_tokens_can_be_has_to_begin_with_a_prefix() {
    let issuer =
        |lines: &str| format!("[[identity.oidc]]\nissuer = \"https://id.example.com\"\naudience = \"gate\"\n{lines}");
    let allow = |principal: &str, lines: &str| {
        let text = with("", &issuer(lines)).replacen("allow = [", &format!("allow = [\"{principal}\", "), 1);
        load(&text).report.plain()
    };
    let groups = "groups_claim = \"groups\"";
    for (principal, lines) in [
        ("group:any", groups),
        ("user:any", ""),
        ("claim:x=y", ""),
        ("claim:ci/x=y", "prefix = \"ci/\""),
        ("subject:7", ""),
    ] {
        assert_eq!(allow(principal, lines), "", "{principal} {lines}");
    }
    for (principal, lines) in [
        ("group:any", ""),
        ("group:any", "groups_claim = \"groups\"\nprefix = \"ci/\""),
        ("user:any", "prefix = \"ci/\""),
        ("claim:x=y", "prefix = \"ci/\""),
        ("subject:7", "prefix = \"ci/\""),
    ] {
        assert!(allow(principal, lines).contains("lets nobody in"), "{principal} {lines}");
    }
    let refused = |text: &str| load(text).report.plain();
    assert!(refused(&with("", &issuer("prefix = \"ali\""))).contains("begins with the prefix"));
    assert!(refused(&with("", &issuer("prefix = \"a b\""))).contains("printable"));
    assert!(refused(&with("", &issuer("").replace("https:", "http:"))).contains("https:// URL"));
    assert!(refused(&with("", &(issuer("") + "\n" + &issuer("prefix = \"x/\"")))).contains("defined twice"));
}
