//! The people and jobs that every test's gateway knows.

use std::{process::Command, sync::OnceLock, time::Duration};

use crate::programs::{run, sluicegate_program};

/// One of them: name, groups, and the secret that is typed where a client asks for a password.
pub struct User {
    /// The name.
    pub name: &'static str,
    /// The groups, as a TOML list.
    pub groups: &'static str,
    /// The secret.
    pub secret: &'static str,
}

/// Alice may use the targets, bob may use none, `ci-migrate` is named by name, and admin's group is
/// the exception that tests make. Dave and erin approve; dora could, and may use the targets too.
pub const USERS: [User; 7] = [
    User { name: "alice", groups: r#"["engineering"]"#, secret: "correct horse battery" },
    User { name: "bob", groups: "[]", secret: "bob's own secret" },
    User { name: "ci-migrate", groups: "[]", secret: "a job's long secret" },
    User { name: "admin", groups: r#"["admin"]"#, secret: "in case of fire" },
    User { name: "dave", groups: r#"["dba"]"#, secret: "dave looks at it twice" },
    User { name: "erin", groups: r#"["dba"]"#, secret: "erin looks at it once" },
    User { name: "dora", groups: r#"["engineering", "dba"]"#, secret: "dora asks and answers" },
];

/// The secret of a user of [`USERS`].
pub fn secret(name: &str) -> &'static str {
    USERS.iter().find(|user| user.name == name).map(|user| user.secret).expect("one of the users")
}

/// The users as the configuration has them, their hashes printed by `sluicegate user hash`.
pub fn config() -> &'static str {
    static CONFIG: OnceLock<String> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let tables = USERS.iter().map(|user| {
            let User { name, groups, secret } = user;
            format!("[[identity.user]]\nname = \"{name}\"\ngroups = {groups}\nsecret_hash = \"{}\"\n", hash(secret))
        });
        tables.collect()
    })
}

/// What `sluicegate user hash` prints for a secret given on standard input.
pub fn hash(secret: &str) -> String {
    let mut command = Command::new(sluicegate_program());
    command.args(["user", "hash"]);
    let printed = run(command, &format!("{secret}\n"), Duration::from_secs(20)).ok();
    let hash =
        printed.lines().find_map(|line| line.split(['"', '\'', ' ']).find(|word| word.starts_with("$argon2id$")));
    hash.unwrap_or_else(|| panic!("`sluicegate user hash` printed no hash: {printed}")).to_owned()
}
