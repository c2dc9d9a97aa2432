//! Where the node calls its stores: on threads that may block, or in place.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

/// Where the stores are called and passwords are hashed. Whatever it is, what a node answers is the same.
#[derive(Clone, Default)]
pub enum Executor {
    /// On threads that may block, the log's writer on one of its own, so that nothing waits that need not.
    #[default]
    Threads,
    /// In place, on the runtime's threads, with the pauses that the pace asks for. Nothing else goes on in the
    /// task's thread meanwhile, so this is for simulations, where a run has to be one sequence of events that
    /// depends on nothing but its seed, and for a server of a handful of people on one core. A node of this kind
    /// has no threads of its own and runs in a current-thread runtime.
    Inline(Arc<dyn Pace>),
}

impl Executor {
    /// In place, without pauses.
    pub fn inline() -> Executor {
        Executor::Inline(Arc::new(NoPause))
    }

    /// Whether calls are made in place.
    pub(crate) fn is_inline(&self) -> bool {
        matches!(self, Executor::Inline(_))
    }

    /// Makes a call that may block, and waits for what comes of it. `Err` with the words of whatever kept the
    /// call from returning, a panic in it for instance. On threads, what has begun is finished even if nobody
    /// waits any more; in place, dropping the future before the call means that it is not made.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        match self {
            Executor::Threads => tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string()),
            Executor::Inline(pace) => {
                pause(pace.before(call)).await;
                let done = std::panic::catch_unwind(AssertUnwindSafe(work));
                pause(pace.after(call)).await;
                done.map_err(|_| "it panicked".to_owned())
            }
        }
    }

    /// Runs work that waits, to its end; `Err` if it panicked.
    pub(crate) async fn guard(work: impl Future<Output = ()>) -> Result<(), ()> {
        AssertUnwindSafe(work).catch_unwind().await.map_err(|_| ())
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_inline() { "Inline" } else { "Threads" })
    }
}

/// Waits, unless there is nothing to wait for.
pub(crate) async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// A group of events is written to the log.
    Append,
    /// Something is read or saved otherwise: logs, accounts, cursors.
    Look,
    /// A password is hashed.
    Hash,
}

/// How long calls that are made in place take, as the node sees it. A simulation plays a disk with it: between
/// `before` and `after` an append has been made and is on the disk, and nobody knows.
pub trait Pace: Send + Sync + 'static {
    /// How long to wait before a call is made.
    fn before(&self, _call: Call) -> Duration {
        Duration::ZERO
    }

    /// How long to wait after a call was made, before anybody learns what came of it.
    fn after(&self, _call: Call) -> Duration {
        Duration::ZERO
    }
}

/// Calls take no time but their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPause;

impl Pace for NoPause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_call_is_an_answer_and_not_the_end() {
        for executor in [Executor::Threads, Executor::inline()] {
            assert!(executor.run(Call::Look, || panic!("spilt")).await.is_err());
            assert_eq!(executor.run(Call::Look, || 1).await, Ok(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_place_means_on_this_thread_and_after_the_pause() {
        struct Slow;
        impl Pace for Slow {
            fn before(&self, call: Call) -> Duration {
                Duration::from_secs(if call == Call::Append { 3 } else { 0 })
            }
        }
        let executor = Executor::Inline(Arc::new(Slow));
        let (here, begun) = (std::thread::current().id(), tokio::time::Instant::now());
        assert_eq!(executor.run(Call::Append, || std::thread::current().id()).await, Ok(here));
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
}
