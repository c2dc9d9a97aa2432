//! Signals: which of them ask for what.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Ctrl-C: end in good order.
    Interrupt,
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGHUP: read the certificates again.
    Reload,
}

impl Asked {
    /// The exit code when the same is asked a second time, before the good order has come to its end.
    pub(crate) fn impatient_exit_code(self) -> i32 {
        match self {
            Asked::Interrupt => 130,
            Asked::Terminate | Asked::Reload => 1,
        }
    }
}

/// The signals that the server listens to, from when this is made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel-safe: one that is not taken is kept.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// The next signal that asks for the end.
    pub(crate) async fn next_end(&mut self) -> Asked {
        loop {
            match self.next().await {
                Asked::Reload => {}
                end => return end,
            }
        }
    }
}
