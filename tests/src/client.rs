//! Real clients: psql, pgbench, pg_dump and tokio-postgres, each told where to go by an [`Endpoint`],
//! which is the gateway's or the database's own, so that a test can compare the two.

use std::{process::Command, time::Duration};

use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, config::SslMode};

use crate::programs::{Run, Running, postgres_program, run};

/// How long one run of a client may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Where a client connects to, and as whom.
#[derive(Clone)]
pub struct Endpoint {
    /// The TCP port on 127.0.0.1.
    pub port: u16,
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
    /// The database; for the gateway, the target.
    pub database: String,
    /// libpq's `sslmode`.
    pub sslmode: &'static str,
    /// libpq's `sslrootcert`.
    pub authority: Option<String>,
}

/// A tokio-postgres client whose connection runs in the background.
pub struct Session {
    /// The client.
    pub client: Client,
    /// Notices and notifications as they arrive.
    pub messages: mpsc::UnboundedReceiver<AsyncMessage>,
}

impl Endpoint {
    /// An endpoint on 127.0.0.1 that is spoken to as libpq does by default.
    pub fn new(port: u16, user: &str, password: &str, database: &str) -> Self {
        let [user, password, database] = [user, password, database].map(str::to_owned);
        Self { port, user, password, database, sslmode: "prefer", authority: None }
    }

    /// One of PostgreSQL's client programs, with what it needs to connect in its environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(postgres_program(program));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            command.env_remove(name);
        }
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGPASSWORD", &self.password)
            .env("PGDATABASE", &self.database)
            .env("PGSSLMODE", self.sslmode)
            .env("PGCONNECT_TIMEOUT", "20")
            .env("PGPASSFILE", "/dev/null")
            .env("PSQLRC", "/dev/null")
            .env("LC_ALL", "C.UTF-8");
        if let Some(authority) = &self.authority {
            command.env("PGSSLROOTCERT", authority);
        }
        command
    }

    /// psql with a script on its standard input: unaligned rows only, stops at the first error.
    pub fn psql(&self, script: &str) -> Run {
        self.psql_with(&["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"], script)
    }

    /// psql with a script that goes on after errors, as at a terminal.
    pub fn psql_on(&self, script: &str) -> Run {
        self.psql_with(&["-q", "-A", "-t", "-v", "VERBOSITY=verbose"], script)
    }

    /// psql with one command, sent as a single message however many statements it holds.
    pub fn psql_one(&self, sql: &str) -> Run {
        self.psql_with(&["-q", "-A", "-t", "-v", "VERBOSITY=verbose", "-c", sql], "")
    }

    /// psql with any arguments.
    pub fn psql_with(&self, args: &[&str], script: &str) -> Run {
        let mut command = self.command("psql");
        command.arg("-X").args(args);
        run(command, script, LIMIT)
    }

    /// psql in the background.
    pub fn psql_start(&self, script: &str) -> Running {
        let mut command = self.command("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose"]);
        Running::start(command, script)
    }

    /// pgbench to its end.
    pub fn pgbench(&self, args: &[&str]) -> Run {
        self.pgbench_start(args).finish(LIMIT)
    }

    /// pgbench in the background.
    pub fn pgbench_start(&self, args: &[&str]) -> Running {
        let mut command = self.command("pgbench");
        command.args(args);
        Running::start(command, "")
    }

    /// pg_dump; the dump is its standard output.
    pub fn pg_dump(&self, args: &[&str]) -> Run {
        let mut command = self.command("pg_dump");
        command.args(args);
        run(command, "", LIMIT)
    }

    /// How tokio-postgres is told the same.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.user(&self.user).password(&self.password).dbname(&self.database);
        config.host("127.0.0.1").port(self.port).ssl_mode(SslMode::Disable);
        config.connect_timeout(Duration::from_secs(20));
        config
    }

    /// Connects with tokio-postgres.
    pub async fn connect(&self) -> Session {
        self.try_connect().await.unwrap_or_else(|error| panic!("{} cannot connect: {}", self.user, explain(&error)))
    }

    /// Connects with tokio-postgres, if it can.
    pub async fn try_connect(&self) -> Result<Session, tokio_postgres::Error> {
        let (client, mut connection) = self.config().connect(NoTls).await?;
        let (sender, messages) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                // A test that does not look at its messages has dropped the receiver.
                let _ = sender.send(message);
            }
        });
        Ok(Session { client, messages })
    }
}

/// An error with the server's own words, which its `Display` leaves out.
pub fn explain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{}: {}", server.code().code(), server.message()),
        None => format!("{error:?}"),
    }
}

/// The SQLSTATE of an error that the server reported.
pub fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().unwrap_or_else(|| panic!("no SQLSTATE: {error:?}")).code()
}

/// Waits for a client's answer, but not for ever.
pub async fn soon<F: std::future::Future>(answer: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), answer).await.expect("an answer within a minute")
}
