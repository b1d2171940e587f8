//! The command line of `headland-node`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Headland's node: messages, channels, users and tokens.
#[derive(Parser)]
#[command(name = "headland-node", version, args_conflicts_with_subcommands = true)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: File,
}

#[derive(Args)]
struct File {
    /// The configuration file. Without one everything is as print-default-config says.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct Move {
    /// The workspace: its name or id.
    #[arg(long)]
    workspace: String,
    /// The cluster, as the configuration calls it.
    #[arg(long, required_unless_present = "abandon", conflicts_with = "abandon")]
    to: Option<String>,
    /// End a move that was begun: the workspace stays where it is.
    #[arg(long)]
    abandon: bool,
    #[command(flatten)]
    file: File,
}

#[derive(Subcommand)]
enum Command {
    /// Run until SIGTERM. This is what happens without a command.
    Run(File),
    /// Check a configuration, and exit.
    CheckConfig(File),
    /// Move a workspace to another cluster, while nodes run. Started again, it goes on where it was.
    Move(Move),
    /// Make a user, and the workspace if it is not there; the password is the first line of the standard input.
    AddUser {
        /// The workspace's name.
        #[arg(long)]
        workspace: String,
        /// What is signed in with.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        file: File,
    },
    /// Print every key with its default and what it is for.
    PrintDefaultConfig,
}

fn main() -> ExitCode {
    let line = Line::parse();
    let result = match line.command.unwrap_or(Command::Run(line.run)) {
        Command::Run(file) => nodes::run(file.config.as_deref()),
        Command::CheckConfig(file) => {
            nodes::check_config(file.config.as_deref()).map(|summary| println!("{summary}"))
        }
        Command::Move(Move { workspace, to, file, .. }) => {
            nodes::move_workspace(file.config.as_deref(), &workspace, to.as_deref())
                .map(|told| println!("{told}"))
        }
        Command::AddUser { workspace, name, file } => {
            let password = std::io::stdin().lines().next().and_then(Result::ok).unwrap_or_default();
            nodes::add_user(file.config.as_deref(), &workspace, name, password).map(|told| println!("{told}"))
        }
        Command::PrintDefaultConfig => {
            print!("{}", nodes::config::document());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headland-node: {error}");
            // 2 when the configuration must be changed, 1 when the machine must.
            ExitCode::from(if error.is_config() { 2 } else { 1 })
        }
    }
}
