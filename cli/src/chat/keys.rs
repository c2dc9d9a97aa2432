//! The terminal's events, read by a thread of their own.
//!
//! Not crossterm's stream: its thread keeps the lock on the terminal's input while it waits, without a bound, and a
//! terminal that has changed its size must be asked where its cursor is, whose answer comes by the same input.
//! This thread lets go of the lock every tenth of a second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event};
use tokio::sync::mpsc;

/// Keys, pastes and changes of size as they come.
pub(super) struct Keys {
    receiver: mpsc::Receiver<io::Result<Event>>,
    is_over: Arc<AtomicBool>,
    /// Hangs up when the thread has ended.
    ended: blocking::Receiver<()>,
}

/// Events that wait to be taken; at the bound the terminal's own buffer fills.
const WAITING_MAX: usize = 256;

/// How long the lock on the input is kept.
const KEEP_FOR: Duration = Duration::from_millis(100);

impl Keys {
    /// Begins to read.
    pub(super) fn listen() -> Keys {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = is_over.clone();
        let (alive, ended) = blocking::channel();
        thread::spawn(move || {
            read(&sender, &flag);
            drop::<blocking::Sender<()>>(alive);
        });
        Keys { receiver, is_over, ended }
    }

    /// The next event; `None` when there will be none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<io::Result<Event>> {
        self.receiver.recv().await
    }
}

fn read(sender: &mpsc::Sender<io::Result<Event>>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let event = match event::poll(KEEP_FOR) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let is_last = event.is_err();
        if sender.blocking_send(event).is_err() || is_last {
            return;
        }
    }
}

impl Drop for Keys {
    /// Waits for the thread, so that whoever reads from the terminal next gets every key. Not for ever: on a
    /// terminal that is gone, crossterm reads its end over and over, and the thread ends with the process.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.receiver.close();
        let _ = self.ended.recv_timeout(3 * KEEP_FOR);
    }
}
