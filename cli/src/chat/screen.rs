//! A conversation at a terminal: keys in, rows out, and the terminal as it was when all is over.

use std::io::{self, Stdout};
use std::panic;
use std::time::{Duration, Instant};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event};
use crossterm::execute;
use crossterm::terminal::{disable_raw_mode, enable_raw_mode, size};
use futures_util::FutureExt;
use ratatui::backend::CrosstermBackend;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::chat::entry::Entry;
use crate::chat::input::{Action, Editor, Typist};
use crate::chat::keys::Keys;
use crate::chat::session::{Happening, Session, Shown};
use crate::chat::view::View;
use crate::exit::{Done, Failure};
use crate::output::Colours;

/// Everything that can wake the screen.
enum Wake {
    /// A key, a paste, another size; `None` when the terminal is gone.
    Terminal(Option<io::Result<Event>>),
    /// Something in the conversation.
    Session(Happening),
    /// Time for the status line to change.
    Tick,
    /// The system asks for the end.
    Signal,
}

/// A terminal with a conversation in it.
pub(super) struct Screen {
    view: View<CrosstermBackend<Stdout>>,
    keys: Keys,
    editor: Editor,
    typist: Typist,
    size: (u16, u16),
    // The last field: what is put back is put back when nothing is drawn any more.
    _raw: RawTerminal,
}

/// How often the status line is looked at: it counts seconds.
const TICK: Duration = Duration::from_millis(500);

/// Happenings that are taken in before the screen is drawn again.
const BATCH_MAX: usize = 256;

impl Screen {
    /// Takes the terminal. Fails where it can not tell where its cursor is.
    pub(super) fn open() -> io::Result<Screen> {
        let raw = RawTerminal::enter()?;
        let view = View::new(CrosstermBackend::new(io::stdout()), Colours::of_stdout())?;
        Ok(Screen {
            view,
            keys: Keys::listen(),
            editor: Editor::default(),
            typist: Typist::default(),
            size: size()?,
            _raw: raw,
        })
    }

    /// Shows the conversation until one end or the other wants no more.
    pub(super) async fn run(mut self, session: &mut Session, first: Vec<Shown>) -> Done {
        let mut signals = Signals::listen().map_err(terminal_failed)?;
        let mut tick = tokio::time::interval(TICK);
        let mut shown = first;
        let done = loop {
            match self.show(session, std::mem::take(&mut shown)) {
                Ok(None) => {}
                Ok(Some(end)) => break end,
                Err(error) => break Err(terminal_failed(error)),
            }
            let wake = tokio::select! {
                biased;
                () = signals.next() => Wake::Signal,
                event = self.keys.next() => Wake::Terminal(event),
                happening = session.next() => Wake::Session(happening),
                _ = tick.tick() => Wake::Tick,
            };
            match wake {
                Wake::Signal | Wake::Terminal(None) => break Ok(()),
                Wake::Terminal(Some(Err(error))) => break Err(terminal_failed(error)),
                Wake::Terminal(Some(Ok(event))) => {
                    if self.on_terminal(&event, session, &mut shown).is_none() {
                        break Ok(());
                    }
                }
                Wake::Session(happening) => take_batch(session, happening, &mut shown),
                Wake::Tick => {}
            }
        };
        // A terminal that is gone has nothing to be put in order.
        let _ = self.view.finish();
        done
    }

    /// Takes a key; `None` = the end.
    fn on_terminal(&mut self, event: &Event, session: &mut Session, shown: &mut Vec<Shown>) -> Option<()> {
        let now = Instant::now();
        match self.editor.on(event) {
            Action::Quit => return None,
            Action::Entered(line) => {
                self.typist.on_sent();
                session.submit(&line, now, shown);
            }
            Action::Edited => {
                if let Some(kind) = self.typist.on_line(self.editor.value(), now) {
                    session.typing(kind);
                }
            }
            Action::Redraw => self.size = (0, 0),
            Action::Nothing => {}
        }
        Some(())
    }

    /// Shows what there is to be shown; the end, if that is part of it.
    fn show(&mut self, session: &Session, shown: Vec<Shown>) -> io::Result<Option<Done>> {
        let mut end = None;
        let mut entries: Vec<Entry> = Vec::new();
        for one in shown {
            match one {
                Shown::Entry(entry) | Shown::Event(_, entry) | Shown::Gap(_, _, entry) => entries.push(entry),
                Shown::End(done) => end = Some(done),
            }
        }
        let status = session.status(Instant::now());
        let size = size()?;
        if self.size != size {
            self.size = size;
            self.view.redraw(&status, &self.editor)?;
        }
        self.view.insert(&entries)?;
        self.view.draw(&status, &self.editor)?;
        Ok(end)
    }
}

/// Takes in what happened, and whatever else is there already.
fn take_batch(session: &mut Session, first: Happening, shown: &mut Vec<Shown>) {
    let now = Instant::now();
    session.take(first, now, shown);
    for _ in 1..BATCH_MAX {
        match session.next().now_or_never() {
            Some(happening) => session.take(happening, now, shown),
            None => return,
        }
    }
}

fn terminal_failed(error: io::Error) -> Failure {
    Failure::usage(format!(
        "the terminal can not be used: {error}; try `hark chat` with its input or output piped"
    ))
}

/// The signals that mean the end.
struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A terminal that hands out keys as they are pressed, and is put back as it was when this goes, also by a panic.
struct RawTerminal;

impl RawTerminal {
    fn enter() -> io::Result<RawTerminal> {
        enable_raw_mode()?;
        let raw = RawTerminal;
        execute!(io::stdout(), EnableBracketedPaste)?;
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // First the terminal, or the message would be a staircase.
            put_back();
            before(info);
        }));
        Ok(raw)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        put_back();
    }
}

fn put_back() {
    // Whatever fails here, there is nothing else to be done about it.
    let _ = execute!(io::stdout(), DisableBracketedPaste, crossterm::cursor::Show);
    let _ = disable_raw_mode();
}
