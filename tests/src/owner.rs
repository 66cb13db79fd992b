//! Whom servers run as. PostgreSQL and PgBouncer refuse to run as root, which the tests may be.

use std::{os::unix::fs::chown, path::Path, process::Command, time::Duration};

use crate::programs::run;

/// The tests' own user, or `postgres` where that is root.
pub struct Owner {
    ids: Option<(u32, u32)>,
}

impl Owner {
    /// Whom servers run as that refuse to run as root.
    pub fn of_server() -> Self {
        if id(&["-u"]) != 0 {
            return Self { ids: None };
        }
        Self { ids: Some((id(&["-u", "postgres"]), id(&["-g", "postgres"]))) }
    }

    /// Whether that is somebody else than who runs the tests.
    pub fn is_another(&self) -> bool {
        self.ids.is_some()
    }

    /// A program that runs as this user.
    pub fn command(&self, program: &Path) -> Command {
        let Some((user, group)) = self.ids else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "--"]).arg(program);
        // The tests' own folder may be closed to that user.
        command.current_dir("/");
        command
    }

    /// Gives a file to this user.
    pub fn take(&self, path: &Path) {
        if let Some((user, group)) = self.ids {
            chown(path, Some(user), Some(group)).expect("root may give files away");
        }
    }
}

fn id(args: &[&str]) -> u32 {
    let mut command = Command::new("id");
    command.args(args);
    run(command, "", Duration::from_secs(10)).ok().trim().parse().expect("id prints a number")
}
