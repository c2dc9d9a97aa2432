//! The keeper of sessions: what is to be kept of them goes to the disk through here, as much as waits at once.
//!
//! Whoever comes with a change waits for its turn; whose turn it is commits everything that waits, so that a
//! thousand logins cost a few syncs and one login costs one. That a connection is gone is noted without a wait
//! and rides with the next commit, before whatever is asked in it.

use hark_core::Refusal;
use hark_core::ports::{FoundSession, Hold, SessionChange, SessionOutcome, TokenHash};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::hub::SharedClock;
use crate::storage::Storage;

/// Changes asked for in one commit: enough to share a sync, few enough that nobody's login waits for long.
const BATCH_CHANGES_MAX: usize = 1_024;

/// Lapsed sessions forgotten in one commit.
const LAPSED_SLICE: usize = 1_024;

type Answer = Result<SessionOutcome, Refusal>;

/// The way to the sessions that the store keeps.
#[derive(Debug)]
pub(crate) struct SessionKeeper {
    storage: Storage,
    clock: SharedClock,
    /// One change for each login or logout that is being decided, whose number admission bounds.
    waiting: Mutex<Vec<(SessionChange, oneshot::Sender<Answer>)>>,
    /// Holds whose connections are gone; never more than there were connections.
    left: Mutex<Vec<Hold>>,
    turn: tokio::sync::Mutex<()>,
}

impl SessionKeeper {
    pub(crate) fn new(storage: Storage, clock: SharedClock) -> SessionKeeper {
        SessionKeeper {
            storage,
            clock,
            waiting: Mutex::default(),
            left: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The session that the token takes up.
    pub(crate) async fn find(&self, token: TokenHash) -> Result<Option<FoundSession>, Refusal> {
        let now = self.clock.0.now();
        self.storage.sessions(move |sessions| sessions.session(&token, now)).await
    }

    /// Carries a change out; when this returns it is on the disk. Not cancel-safe: a change whose asker has gone
    /// may be carried out.
    pub(crate) async fn change(&self, change: SessionChange) -> Answer {
        let (answer, mut answered) = oneshot::channel();
        self.waiting.lock().push((change, answer));
        loop {
            let turn = self.turn.lock().await;
            match answered.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => return Err(Refusal::Internal),
                Err(oneshot::error::TryRecvError::Empty) => self.commit().await,
            }
            drop(turn);
        }
    }

    /// Notes that a hold's connection is gone. Until the next commit the store may say otherwise.
    pub(crate) fn leave(&self, hold: Hold) {
        self.left.lock().push(hold);
    }

    /// Saves which connections are gone.
    pub(crate) async fn flush(&self) {
        let _turn = self.turn.lock().await;
        self.commit().await;
    }

    /// Commits what waits. Only for whoever has the turn.
    async fn commit(&self) {
        let left = std::mem::take(&mut *self.left.lock());
        let asked: Vec<_> = {
            let mut waiting = self.waiting.lock();
            let count = waiting.len().min(BATCH_CHANGES_MAX);
            waiting.drain(..count).collect()
        };
        if left.is_empty() && asked.is_empty() {
            return;
        }
        let (asked, answers): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let changes: Vec<_> = left.iter().map(|hold| SessionChange::Leave(*hold)).chain(asked).collect();
        let now = self.clock.0.now();
        let done = self.storage.sessions(move |sessions| sessions.change_sessions(now, &changes)).await;
        match done {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes.into_iter().skip(left.len())) {
                    let _ = answer.send(Ok(outcome)); // whoever asked may have gone
                }
            }
            Err(refusal) => {
                self.left.lock().extend(left);
                for answer in answers {
                    let _ = answer.send(Err(refusal.clone())); // as above
                }
            }
        }
    }

    /// Forgets some of the sessions that have lapsed; true if there may be more.
    pub(crate) async fn forget_lapsed(&self) -> bool {
        let now = self.clock.0.now();
        let forgotten =
            self.storage.sessions(move |sessions| sessions.forget_lapsed_sessions(now, LAPSED_SLICE)).await;
        forgotten.is_ok_and(|count| count == LAPSED_SLICE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hark_core::memory::{MemoryDirectory, MemoryStores};
    use hark_core::ports::{Directory, NewAccount, NewDevice, PasswordHash, SessionId, Sessions, StoreError};
    use hark_protocol::{AccountRole, DeviceId, UnixMillis};

    use super::*;
    use crate::clock::SystemClock;

    /// Sessions in memory that count their commits.
    struct Counted {
        inner: Arc<MemoryDirectory>,
        commits: AtomicUsize,
    }

    impl Sessions for Counted {
        fn session(&self, token: &TokenHash, now: UnixMillis) -> Result<Option<FoundSession>, StoreError> {
            self.inner.session(token, now)
        }
        fn change_sessions(
            &self,
            now: UnixMillis,
            changes: &[SessionChange],
        ) -> Result<Vec<SessionOutcome>, StoreError> {
            self.commits.fetch_add(1, Ordering::SeqCst);
            self.inner.change_sessions(now, changes)
        }
        fn part_sessions(&self, now: UnixMillis) -> Result<(), StoreError> {
            self.inner.part_sessions(now)
        }
        fn forget_lapsed_sessions(&self, now: UnixMillis, at_most: usize) -> Result<usize, StoreError> {
            self.inner.forget_lapsed_sessions(now, at_most)
        }
    }

    fn keeper() -> (Arc<SessionKeeper>, Arc<Counted>, DeviceId) {
        let stores = MemoryStores::new();
        let password = PasswordHash("x".into());
        let name = hark_protocol::AccountName::parse("ann").unwrap();
        let account = NewAccount {
            name,
            display_name: "Ann".parse().unwrap(),
            role: AccountRole::USER,
            password: password.clone(),
            created: UnixMillis(1),
        };
        let account = stores.directory.add_account(account).unwrap();
        let (label, token, now) = ("phone".parse().unwrap(), TokenHash([9; 32]), UnixMillis(1));
        let device =
            stores.directory.add_device(NewDevice { account, label, token, password, now }, 9).unwrap();
        let counted =
            Arc::new(Counted { inner: Arc::clone(&stores.directory), commits: AtomicUsize::new(0) });
        let storage = Storage::new(
            stores.reader,
            stores.directory.clone(),
            stores.directory,
            Arc::clone(&counted) as Arc<dyn Sessions>,
            crate::executor::Executor::Threads,
        );
        let keeper = SessionKeeper::new(storage, SharedClock(Arc::new(SystemClock)));
        (Arc::new(keeper), counted, device)
    }

    fn begin(device: DeviceId, number: u16) -> SessionChange {
        let mut token = [0; 32];
        token[..2].copy_from_slice(&number.to_be_bytes());
        SessionChange::Begin { device, token: TokenHash(token), sessions_max: 10_000, lifetime_ms: 1_000 }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_logins_share_a_commit_and_each_has_its_own_answer() {
        let (keeper, counted, device) = keeper();
        let turn = keeper.turn.lock().await; // as if a commit were under way
        let logins: Vec<_> = (0..300)
            .map(|number| {
                let keeper = Arc::clone(&keeper);
                tokio::spawn(async move { keeper.change(begin(device, number)).await })
            })
            .collect();
        while keeper.waiting.lock().len() < 300 {
            tokio::task::yield_now().await;
        }
        drop(turn);
        let mut sessions = Vec::new();
        for login in logins {
            match login.await.unwrap() {
                Ok(SessionOutcome::Held(hold)) => sessions.push(hold.session),
                other => panic!("{other:?}"),
            }
        }
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(sessions.len(), 300);
        assert_eq!(counted.commits.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_has_left_makes_way_in_the_commit_of_who_comes() {
        let (keeper, _, device) = keeper();
        let begin_one = |number| match begin(device, number) {
            SessionChange::Begin { device, token, lifetime_ms, .. } => {
                SessionChange::Begin { device, token, sessions_max: 1, lifetime_ms }
            }
            other => other,
        };
        let Ok(SessionOutcome::Held(hold)) = keeper.change(begin_one(1)).await else { panic!() };
        assert_eq!(keeper.change(begin_one(2)).await, Ok(SessionOutcome::Full));
        keeper.leave(hold);
        assert!(matches!(keeper.change(begin_one(3)).await, Ok(SessionOutcome::Held(_))));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_commit_that_fails_is_told_to_all_and_who_has_left_is_noted_later() {
        let (keeper, counted, device) = keeper();
        let Ok(SessionOutcome::Held(hold)) = keeper.change(begin(device, 1)).await else { panic!() };
        keeper.leave(hold);
        counted.inner.fail_next_change(StoreError::Unavailable("full".into()));
        assert_eq!(keeper.change(begin(device, 2)).await, Err(Refusal::Unavailable));
        assert_eq!(keeper.left.lock().len(), 1);
        keeper.flush().await;
        assert!(keeper.left.lock().is_empty());
        let far = UnixMillis(u64::MAX);
        assert_eq!(counted.inner.forget_lapsed_sessions(far, 9), Ok(1));
        assert!(hold.session > SessionId(0));
    }
}
