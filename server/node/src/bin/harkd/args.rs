//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The Hark server. Without arguments it makes what it needs in ./hark-data and listens on 127.0.0.1:4275.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = false)]
pub(crate) struct Args {
    /// The configuration file [default: harkd.toml, if it is there; environment: HARKD_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// The data folder [default: hark-data]
    #[arg(long, value_name = "FOLDER", global = true)]
    data: Option<String>,

    /// Where clients connect [default: 127.0.0.1:4275]
    #[arg(long, value_name = "IP:PORT", global = true)]
    listen: Option<String>,

    /// Judge configuration, certificate and data folder, start nothing and change nothing
    #[arg(long)]
    pub(crate) check: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at the configuration
    Config {
        /// Print every key with its sentence, its default, its value and where that came from
        #[arg(long, required = true)]
        explain: bool,
    },
    /// Give the account admin a new random password; the server must not be running
    ResetAdminPassword,
    /// Copy the data folder as of one moment; the server may be running
    Backup {
        /// The folder to make; it must not be there yet
        #[arg(value_name = "FOLDER")]
        target: PathBuf,
    },
    /// Check every record, room and file of the data folder, and change nothing; the server may be running.
    /// Exit code 3 means that something is damaged
    Verify {
        /// Verify this folder, such as a backup, instead of the data folder
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Print one JSON object for each thing that is wrong, and one at the end
        #[arg(long)]
        json: bool,
    },
    /// Make a backup the data folder; the server must not be running
    Restore {
        /// The backup
        #[arg(value_name = "FOLDER")]
        backup: PathBuf,
        /// Move data that is in the data folder aside, into a folder of its own inside it
        #[arg(long)]
        force: bool,
        /// Restore a damaged backup as it is: what can not be read is a hole in its room
        #[arg(long)]
        accept_damage: bool,
    },
}

impl Args {
    /// Options that stand for a key of the configuration: the option, the key, the value.
    pub(crate) fn flags(&self) -> Vec<(&'static str, &'static str, String)> {
        let data = self.data.clone().map(|value| ("--data", "data", value));
        let listen = self.listen.clone().map(|value| ("--listen", "listen", value));
        data.into_iter().chain(listen).collect()
    }
}
