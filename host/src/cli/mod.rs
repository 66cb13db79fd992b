//! The command line: one file for each command. A command returns its exit code, or an error that is
//! printed as one sentence with the next step. Wrong usage exits with 2, everything else with 1.

mod access;
mod approvals;
mod check;
mod completions;
mod connect;
mod demo;
mod grants;
mod kept;
mod login;
mod pick;
mod policy;
mod print;
mod serve;
mod sessions;
mod source;
mod ticket;
mod user;
mod when;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anstream::{eprint, eprintln};
use anstyle::{AnsiColor, Style};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};

use self::access::ConfigPath;
use crate::config::{self, Config, Loaded, report::Report};

const ERROR: Style = AnsiColor::Red.on_default().bold();

/// An access gateway whose rules are programs.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, max_term_width = 100)]
struct Cli {
    /// The configuration file [env: SLUICEGATE_CONFIG] [default: sluicegate.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Demo(demo::Args),
    User(user::Args),
    Sessions(sessions::Args),
    Approvals(approvals::Args),
    Access(grants::Args),
    Ticket(ticket::Args),
    Policy(policy::Args),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Token(login::TokenArgs),
    Connect(connect::Args),
    Completions(completions::Args),
}

impl Command {
    fn reads_config(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Check(_) | Self::Sessions(_) | Self::Approvals(_) | Self::Policy(_) => true,
            Self::Access(_) | Self::Ticket(_) => true,
            Self::Demo(_) | Self::User(_) | Self::Completions(_) => false,
            Self::Login(_) | Self::Logout(_) | Self::Token(_) | Self::Connect(_) => false,
        }
    }
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if cli.config.is_some() && !cli.command.reads_config() {
        wrong_usage("this command reads no configuration; leave out `--config`");
    }
    let config = config_path(cli.config);
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args, &config.path),
        Command::Check(args) => check::run(&args, &config.path),
        Command::Demo(args) => demo::run(&args),
        Command::User(args) => user::run(&args),
        Command::Sessions(args) => sessions::run(&args, &config),
        Command::Approvals(args) => approvals::run(&args, &config),
        Command::Access(args) => grants::run(&args, &config),
        Command::Ticket(args) => ticket::run(&args, &config),
        Command::Policy(args) => policy::run(&args, &config),
        Command::Login(args) => login::login(&args),
        Command::Logout(args) => login::logout(&args),
        Command::Token(args) => login::token(&args),
        Command::Connect(args) => connect::run(&args),
        Command::Completions(args) => completions::run(&args),
    };
    done.unwrap_or_else(|error| {
        print_error(&error);
        ExitCode::FAILURE
    })
}

fn print_error(error: &anyhow::Error) {
    // It may repeat what a client or a gateway elsewhere said.
    eprintln!("{ERROR}error{ERROR:#}: {}", print::printable_lines(&format!("{error:#}")).join("\n"));
}

/// Ends the process where arguments do not go together.
fn wrong_usage(message: &str) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, message).exit()
}

fn config_path(argument: Option<PathBuf>) -> ConfigPath {
    let from_environment = || std::env::var_os("SLUICEGATE_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
    let named = argument.is_some();
    let path = argument.or_else(from_environment).unwrap_or_else(|| PathBuf::from("sluicegate.toml"));
    ConfigPath { path, named }
}

/// The configuration for commands that need one in order, and the warnings about it. What is wrong with
/// it is printed.
fn load(path: &Path) -> anyhow::Result<(Config, Report)> {
    let Loaded { config, report, .. } = config::load(path)?;
    match config {
        Some(config) => Ok((config, report)),
        None => Err(refused(&report)),
    }
}

/// Prints what is wrong with a configuration that cannot be used.
fn refused(report: &Report) -> anyhow::Error {
    eprint!("{}", report.render());
    let errors = u64::try_from(report.errors()).unwrap_or(u64::MAX);
    anyhow::anyhow!("the configuration has {}, see above", print::count(errors, "error"))
}

/// The runtime of commands that wait for something.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Works until it is done or somebody presses Ctrl-C, which is no error where a command prints on and on.
async fn until_interrupted(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        done = work => done,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::CommandFactory;

    /// clap has a check of its own, which does nothing in a build without its debug assertions.
    fn check(command: &clap::Command) {
        let (mut names, path) = (HashSet::new(), command.get_name());
        for argument in command.get_arguments() {
            let options = [argument.get_long().map(str::to_owned), argument.get_short().map(String::from)];
            for name in
                options.into_iter().flatten().map(|name| format!("-{name}")).chain([argument.get_id().to_string()])
            {
                assert!(names.insert(name.clone()), "`{path}` has two arguments named {name}");
            }
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn the_command_line_is_consistent() {
        let mut command = super::Cli::command();
        command.build();
        check(&command);
    }
}
