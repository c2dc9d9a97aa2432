//! A conversation without a terminal: what comes in by lines is said, and what happens is printed.

use std::time::Instant;

use futures_util::FutureExt;
use tokio::io::BufReader;

use crate::chat::entry::{Body, Entry};
use crate::chat::session::{Happening, Session, Shown};
use crate::commands::lines::{self, Line};
use crate::exit::{Done, Failure};
use crate::output::{Output, note};

/// Talks until the input ends and everything in it was answered, or until the conversation ends.
pub(super) async fn run(session: &mut Session, first: Vec<Shown>, output: &mut Output) -> Done {
    let mut input = lines::read(BufReader::new(tokio::io::stdin()));
    let mut is_open = true;
    let mut shown = first;
    loop {
        for one in shown.drain(..) {
            match show(one, output)? {
                None => {}
                Some(end) => return end.and(session.failed()),
            }
        }
        if !is_open && !session.is_busy() {
            return session.failed();
        }
        tokio::select! {
            happening = next(session, output) => session.take(happening?, Instant::now(), &mut shown),
            line = input.recv(), if is_open => match line {
                Some(line) => say(line, session, &mut shown)?,
                None => is_open = false,
            },
        }
    }
}

/// What happens next; what was printed is shown before anything is waited for. Cancel-safe.
async fn next(session: &mut Session, output: &mut Output) -> Done<Happening> {
    if let Some(happening) = session.next().now_or_never() {
        return Ok(happening);
    }
    output.flush()?;
    Ok(session.next().await)
}

fn say(line: Line, session: &mut Session, shown: &mut Vec<Shown>) -> Done {
    let line = line.map_err(|words| Failure::usage(format!("a line can not be sent: {words}")))?;
    session.submit(&line, Instant::now(), shown);
    Ok(())
}

/// Events are results; everything else that a person would like to know is not. The end, if it is that.
fn show(one: Shown, output: &mut Output) -> Done<Option<Done>> {
    match one {
        Shown::Event(record, _) => output.event(&record)?,
        Shown::Gap(room, gap, _) => output.gap(&room, &gap)?,
        Shown::Entry(Entry { body: Body::Notice(text) | Body::Warning(text), .. }) => note(text),
        Shown::Entry(Entry { body: Body::Message { label, lines, .. }, .. }) => {
            lines.iter().for_each(|line| note(format!("{label}: {line}")));
        }
        Shown::End(done) => return Ok(Some(done)),
    }
    Ok(None)
}
