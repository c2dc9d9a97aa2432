//! `hark chat`: a conversation, at a terminal or by lines.

mod command;
mod entry;
mod input;
mod keys;
mod model;
mod plain;
mod screen;
mod session;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::chat::screen::Screen;
use crate::chat::session::Session;
use crate::connect::{Purpose, with_patience};
use crate::context::Context;
use crate::exit::Done;
use crate::output::{Mode, Output, note};

/// How long the answers to what was said last are waited for.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// Talks in a room, whose newest `history` events come first.
pub(crate) async fn run(context: Context, room: &str, history: u16, output: &mut Output) -> Done {
    // A conversation waits for its server however long that is away, unless it was told otherwise.
    let patience_s = context.patience_s.unwrap_or(0);
    let is_screen = output.mode() == Mode::Human && is_terminal();
    let purpose = if is_screen { Purpose::Person } else { Purpose::Task };
    let client = context.connect(purpose).await?;
    let entered = Session::enter(client.clone(), room, history, TimeZone::system()).await;
    let done = match entered {
        Ok((mut session, first)) => {
            let screen = if is_screen { open_screen() } else { None };
            let talk = async {
                match screen {
                    Some(screen) => screen.run(&mut session, first).await,
                    None => plain::run(&mut session, first, output).await,
                }
            };
            let done = with_patience(&client, patience_s, talk).await;
            done.and(session.settle(LEAVE_WITHIN).await)
        }
        Err(failure) => Err(failure),
    };
    client.close_within(LEAVE_WITHIN).await;
    done
}

/// Whether there are keys to be read and a screen to draw on.
fn is_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

fn open_screen() -> Option<Screen> {
    match Screen::open() {
        Ok(screen) => Some(screen),
        Err(error) => {
            note(format!("This terminal can not be drawn on ({error}); lines are read and printed instead."));
            None
        }
    }
}
