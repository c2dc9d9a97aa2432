//! What can be typed: commands and options, which make the help, the manual pages and the completions too.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::profile::ProfileName;

/// Chat from a terminal or a script.
#[derive(Debug, Parser)]
#[command(name = "hark", version, max_term_width = 100, after_help = EXIT_CODES, propagate_version = false)]
#[command(infer_subcommands = false, disable_help_subcommand = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Printed below every help page.
const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused by the server, 2 usage or a fault on this machine,
3 not reached (nothing was sent), 4 outcome unknown.

For scripts: HARK_SERVER, HARK_USER, HARK_PASSWORD, HARK_PASSWORD_FILE, HARK_TOKEN,
HARK_CA, HARK_PIN, HARK_PROFILE and HARK_CONFIG_HOME.";

/// Options that every command takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options for every command")]
pub(crate) struct Global {
    /// The server [env: HARK_SERVER] [default: the profile's]
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    pub(crate) server: Option<String>,
    /// Trust servers that this certificate authority vouches for [env: HARK_CA]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "pin")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust the one server whose certificate has this fingerprint [env: HARK_PIN]
    #[arg(long, global = true, value_name = "sha256:HEX")]
    pub(crate) pin: Option<String>,
    /// The account to use [env: HARK_USER] [default: the profile's]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Which profile to use [env: HARK_PROFILE] [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<ProfileName>,
    /// Print one JSON object a line; see `hark help json`
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// After a lost connection, give up when this many seconds have passed without a new one; 0 = never give
    /// up [default: 60, and 0 for tail and chat]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(crate) patience: Option<u64>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an account with a registration token, log in, and keep that in the profile
    Register {
        /// The account's name
        name: String,
        /// The registration token, which the server's operator gives out [env: HARK_TOKEN]
        #[arg(long, value_name = "TOKEN")]
        token: Option<String>,
        /// The name that people see
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Log in with a password and keep the login in the profile
    Login {
        /// The account's name [default: --user, HARK_USER or the profile's]
        name: Option<String>,
    },
    /// Make the server forget this login, and forget it here
    Logout {
        /// Forget it here even if the server can not be told
        #[arg(long)]
        local: bool,
    },
    /// Say who is logged in where
    Whoami,
    /// List rooms
    Rooms {
        /// Public rooms, joined or not, in place of those you are in
        #[arg(long, conflicts_with = "invited")]
        public: bool,
        /// Rooms to which you are invited
        #[arg(long)]
        invited: bool,
    },
    /// Make a room and become its owner
    Create {
        /// Its name: 1 to 64 of a-z 0-9 . _ -
        room: String,
        /// Only who is invited can see and join it
        #[arg(long)]
        private: bool,
        /// How far back members can read
        #[arg(long, value_enum, default_value_t = HistoryChoice::All)]
        history: HistoryChoice,
        /// What it is about
        #[arg(long, value_name = "TEXT", default_value = "")]
        topic: String,
    },
    /// Become a member of a room
    Join {
        /// The room
        room: String,
    },
    /// Stop being a member of a room
    Leave {
        /// The room
        room: String,
    },
    /// List a room's members
    Members {
        /// The room
        room: String,
    },
    /// Let somebody join a private room
    Invite {
        /// The room
        room: String,
        /// Whom
        account: String,
    },
    /// Remove somebody from a room
    Kick {
        /// The room
        room: String,
        /// Whom
        account: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Show or change what a room is about
    Topic {
        /// The room
        room: String,
        /// The new topic; "" for none; without it the present one is shown
        text: Vec<String>,
    },
    /// Show or change how much of its log a room keeps; what is not given has no bound
    Retention {
        /// The room
        room: String,
        /// Seconds after which events go
        #[arg(long, value_name = "SECONDS")]
        max_age: Option<u32>,
        /// Events that are kept
        #[arg(long, value_name = "NUMBER")]
        max_events: Option<u64>,
        /// Bytes of events that are kept
        #[arg(long, value_name = "BYTES")]
        max_bytes: Option<u64>,
        /// Keep everything
        #[arg(long, conflicts_with_all = ["max_age", "max_events", "max_bytes"])]
        everything: bool,
    },
    /// Change what a member may do in a room
    Role {
        /// The room
        room: String,
        /// Whose role
        account: String,
        /// The new role
        #[arg(value_enum)]
        role: RoleChoice,
    },
    /// Open the direct room with somebody and print its name
    Direct {
        /// With whom
        account: String,
    },
    /// Send a message and print its seq
    Send {
        /// The room
        room: String,
        /// The message; words are joined by spaces
        #[arg(required_unless_present = "stdin", conflicts_with = "stdin")]
        text: Vec<String>,
        /// Send each line of the standard input as a message, in order
        #[arg(long)]
        stdin: bool,
    },
    /// Follow a room
    Tail {
        /// The room
        room: String,
        /// Where to begin: with the oldest event, with the next new one, or with the event of this seq
        #[arg(long, value_name = "start|now|SEQ", default_value = "now")]
        from: TailFrom,
        /// End after this many events
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
    },
    /// Print what was said in a room, oldest first
    History {
        /// The room
        room: String,
        /// Only what stands before this seq
        #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
        before: Option<u64>,
        /// Only the newest so many of them
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Talk in a room; without a terminal: send what comes in by lines and print what is said
    Chat {
        /// The room
        room: String,
        /// How many earlier events to show first
        #[arg(long, value_name = "N", default_value_t = 50)]
        history: u16,
    },
    /// Measure the way to the server and back, log-in not counted
    Ping,
    /// Change the name that people see
    Nick {
        /// The new name; "" for the account's name
        name: String,
    },
    /// Change your password; every other login ends
    Passwd {
        #[command(flatten)]
        password: NewPassword,
    },
    /// Administer the server
    Admin {
        #[command(subcommand)]
        noun: AdminNoun,
    },
    /// Explain the bytes of frames
    Decode {
        /// A file, hexadecimal digits, or `-` for the standard input; a file may hold either
        #[arg(required = true)]
        input: Vec<String>,
    },
    /// Print the completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page of hark or of one of its commands, in roff
    Man {
        /// The command, such as `send` or `admin user add`
        command: Vec<String>,
    },
    /// Explain what --json prints
    #[command(long_about = crate::output::JSON_HELP)]
    Json,
}

/// What `hark admin` is about.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminNoun {
    /// Accounts
    User {
        #[command(subcommand)]
        verb: UserVerb,
    },
}

/// What an admin does with accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Add an account
    Add {
        /// Its name
        name: String,
        /// What it may do on the server
        #[arg(long, value_enum, default_value_t = AccountRoleChoice::User)]
        role: AccountRoleChoice,
        #[command(flatten)]
        password: NewPassword,
    },
    /// List the accounts
    List,
    /// Shut an account out and disconnect it
    Disable {
        /// Its name
        name: String,
    },
    /// Let a disabled account in again
    Enable {
        /// Its name
        name: String,
    },
    /// Set an account's password; its logins end
    Passwd {
        /// Its name
        name: String,
        #[command(flatten)]
        password: NewPassword,
    },
}

/// Where a password that is to be set comes from.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NewPassword {
    /// A file whose first line is the new password, `-` for the standard input
    /// [env: HARK_NEW_PASSWORD, HARK_NEW_PASSWORD_FILE] [default: ask for it]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// How far back members can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HistoryChoice {
    /// To the first event
    All,
    /// To their own join
    SinceJoin,
}

/// A member's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleChoice {
    /// Read and send
    Member,
    /// Also invite, kick and change the topic
    Moderator,
    /// Also change roles
    Owner,
}

/// An account's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccountRoleChoice {
    /// Chat
    User,
    /// Chat, and administer the server
    Admin,
}

/// Where `hark tail` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TailFrom {
    /// With the oldest event that can be read.
    Start,
    /// With the next new one.
    Now,
    /// With the event of this seq.
    Seq(u64),
}

impl std::str::FromStr for TailFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(TailFrom::Start),
            "now" => Ok(TailFrom::Now),
            number => match number.parse() {
                Ok(seq) if seq > 0 => Ok(TailFrom::Seq(seq)),
                _ => Err("say start, now, or the seq of an event, which is 1 or more".to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_behind_the_command() {
        for line in ["hark --server h:1 --json whoami", "hark whoami --json --server h:1"] {
            let global = parse(line).unwrap().global;
            assert_eq!((global.server.as_deref(), global.json), (Some("h:1"), true), "{line}");
        }
    }

    #[test]
    fn what_new_users_paste_is_understood() {
        for line in [
            "hark --server 127.0.0.1:4275 --ca hark-data/tls/ca.pem register alice --token hrt_abc",
            "hark --profile bob register bob --token hrt_abc",
            "hark create tea",
            "hark join tea",
            "hark chat tea",
            "hark send tea hello there",
            "hark send tea --stdin",
            "hark tail tea --from start --count 3",
            "hark tail tea --from 17",
            "hark history tea --before 9 --limit 2",
            "hark role tea bob moderator",
            "hark admin user add bob --role admin",
            "hark decode 4841524b",
            "hark completions bash",
            "hark man admin user add",
            "hark json",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn contradictions_and_absent_arguments_are_usage_errors() {
        for line in [
            "hark",
            "hark send tea",
            "hark send tea --stdin hello",
            "hark tail tea --from yesterday",
            "hark tail tea --from 0",
            "hark tail tea --count 0",
            "hark history tea --limit 0",
            "hark --ca a.pem --pin sha256:00 whoami",
            "hark --profile ../x whoami",
            "hark rooms --public --invited",
            "hark brew tea",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn no_option_takes_a_password() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                assert!(!id.contains("password") || id == "password_file", "{id}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn tail_begins_where_it_is_told() {
        assert_eq!("start".parse(), Ok(TailFrom::Start));
        assert_eq!("now".parse(), Ok(TailFrom::Now));
        assert_eq!("12".parse(), Ok(TailFrom::Seq(12)));
    }
}
