//! The commands: each takes what was typed and the resolved context, and gives a result or a failure.

mod account;
mod admin;
mod decode;
mod history;
pub(crate) mod lines;
mod login;
mod pacer;
mod ping;
mod room;
mod rooms;
mod send;
mod shell;
mod tail;

use std::time::Duration;

use hark_sdk::{Client, ClientState, ConnectError, Reason, Retention, Room, Sent};
use serde::Serialize;

use crate::args::{AdminNoun, Cli, Command};
use crate::chat;
use crate::connect::{PATIENCE_S, Purpose, with_patience};
use crate::context::{Context, Env};
use crate::exit::{Done, Failure, Outcome};
use crate::output::{JSON_HELP, Mode, Output};

/// Does what was typed.
pub(crate) fn run(cli: Cli) -> Done {
    let mode = if cli.global.json { Mode::Json } else { Mode::Human };
    let mut output = Output::stdout(mode);
    let done = match cli.command {
        Command::Decode { input } => decode::run(&input, &mut output),
        Command::Completions { shell } => shell::completions(shell, &mut output),
        Command::Man { command } => shell::man(&command, &mut output),
        Command::Json => output.raw(JSON_HELP.as_bytes()).and_then(|()| output.raw(b"\n")),
        online => run_online(online, Context::resolve(&cli.global, Env::of_process())?, &mut output),
    };
    // What was found before a failure is a result, too.
    let flushed = output.flush();
    done.and(flushed)
}

fn run_online(command: Command, context: Context, output: &mut Output) -> Done {
    // Two workers: while one of them waits for a slow reader of the standard output, the other keeps the
    // connection alive.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(format!("the program can not be started: {error}")))?;
    let done = runtime.block_on(dispatch(command, context, output));
    // A thread that waits for the standard input can not be ended; the process can.
    runtime.shutdown_background();
    done
}

async fn dispatch(command: Command, context: Context, output: &mut Output) -> Done {
    match command {
        Command::Register { name, token, display_name } => {
            login::register(context, &name, token, display_name.as_deref().unwrap_or(""), output).await
        }
        Command::Login { name } => login::login(context, name, output).await,
        Command::Logout { local } => login::logout(context, local, output).await,
        Command::Whoami => account::whoami(context, output).await,
        Command::Nick { name } => account::nick(context, &name, output).await,
        Command::Passwd { password } => account::passwd(context, password, output).await,
        Command::Rooms { public, invited } => rooms::list(context, public, invited, output).await,
        Command::Create { room, private, history, topic } => {
            rooms::create(context, rooms::describe(room, private, history, topic), output).await
        }
        Command::Join { room } => rooms::join(context, &room, output).await,
        Command::Direct { account } => rooms::direct(context, &account, output).await,
        Command::Leave { room } => room::leave(context, &room, output).await,
        Command::Members { room } => room::members(context, &room, output).await,
        Command::Invite { room, account } => room::invite(context, &room, &account, output).await,
        Command::Kick { room, account, reason } => {
            room::kick(context, &room, &account, &reason, output).await
        }
        Command::Topic { room, text } => room::topic(context, &room, &text, output).await,
        Command::Retention { room, max_age, max_events, max_bytes, everything } => {
            let is_given = everything || max_age.is_some() || max_events.is_some() || max_bytes.is_some();
            let retention = Retention {
                max_age_s: max_age.unwrap_or(0),
                max_events: max_events.unwrap_or(0),
                max_bytes: max_bytes.unwrap_or(0),
            };
            room::retention(context, &room, is_given.then_some(retention), output).await
        }
        Command::Role { room, account, role } => room::role(context, &room, &account, role, output).await,
        Command::Send { room, text, stdin: false } => {
            send::one(context, &room, &text.join(" "), output).await
        }
        Command::Send { room, stdin: true, .. } => send::lines(context, &room, output).await,
        Command::Tail { room, from, count } => tail::run(context, &room, from, count, output).await,
        Command::History { room, before, limit } => history::run(context, &room, before, limit, output).await,
        Command::Chat { room, history } => chat::run(context, &room, history, output).await,
        Command::Ping => ping::run(context, output).await,
        Command::Admin { noun: AdminNoun::User { verb } } => admin::user(context, verb, output).await,
        Command::Decode { .. } | Command::Completions { .. } | Command::Man { .. } | Command::Json => Ok(()),
    }
}

/// How long a command that is done waits to take leave of the server.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Connects, works, takes leave.
async fn with_client<T>(context: Context, work: impl AsyncFnOnce(&Client) -> Done<T>) -> Done<T> {
    let patience_s = context.patience_s.unwrap_or(PATIENCE_S);
    let client = context.connect(Purpose::Task).await?;
    let done = with_patience(&client, patience_s, work(&client)).await;
    client.close_within(LEAVE_WITHIN).await;
    done
}

/// As [`with_client`], with a room.
async fn with_room<T>(context: Context, room: &str, work: impl AsyncFnOnce(&Room) -> Done<T>) -> Done<T> {
    with_client(context, async |client| work(&client.room(room).await?).await).await
}

/// The server's word that an event is in a room's log.
#[derive(Debug, Serialize)]
struct SentJson<'a> {
    room: &'a str,
    epoch: u64,
    seq: u64,
    time: u64,
    client_id: String,
    duplicate: bool,
}

impl<'a> SentJson<'a> {
    fn new(room: &'a str, sent: &Sent) -> SentJson<'a> {
        SentJson {
            room,
            epoch: sent.epoch.0,
            seq: sent.seq.0,
            time: sent.time.0,
            client_id: sent.client_id.to_string(),
            duplicate: sent.duplicate,
        }
    }
}

/// Why a client that was to go on has ended.
pub(crate) fn ended(client: &Client) -> Failure {
    match client.state() {
        ClientState::Closed { reason: Reason::Connect(kind) } => Failure::from(ConnectError::from(kind)),
        // It was closed here, because it was offline for too long.
        ClientState::Closing | ClientState::Closed { reason: Reason::Requested } => {
            Failure::new(Outcome::NotReached, "the connection was lost and did not come back in time")
        }
        ClientState::Closed { reason } => Failure::new(Outcome::NotReached, reason.to_string()),
        _ => Failure::new(Outcome::NotReached, "the connection was closed"),
    }
}
