//! Passwords: Argon2id on a bounded pool of threads, with the same work for a name that nobody has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use hark_core::ports::PasswordHash;
use hark_protocol::Secret;
use hark_protocol::limits::PASSWORD_BYTES_MAX;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::entropy::{Entropy, random_bytes};
use crate::executor::{Call, Executor};
use crate::metrics::Metrics;

/// Whether a password fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the account's password.
    Right,
    /// It is not, or there is no such account; nobody can tell which.
    Wrong,
}

/// Why no verdict was reached.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// Too many passwords are waiting to be hashed already; the peer may try again a little later.
    #[error("too many logins at once")]
    Busy,
    /// The stored hash can not be read, or hashing failed: a fault of ours.
    #[error("a password hash can not be computed: {0}")]
    Fault(String),
}

/// Hashes passwords, so many at a time as the machine has cores; [`QUEUE_MAX`] more may wait.
#[derive(Clone)]
pub struct PasswordPool {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// Passwords are set one at a time, so that whoever sets them keeps nobody from logging in.
    setting: Arc<Semaphore>,
    /// What an unknown name's password is held against: a hash of which nobody knows the password.
    nobody: PasswordHash,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
    executor: Executor,
}

impl PasswordPool {
    /// A pool with `cores` places.
    ///
    /// # Errors
    /// [`PasswordError::Fault`] if Argon2 refuses the parameters.
    pub fn new(
        cores: usize,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<Metrics>,
    ) -> Result<PasswordPool, PasswordError> {
        let nobody = hash_of_nobody(&random_bytes(&*entropy), &random_bytes(&*entropy)).map_err(fault)?;
        let cores = cores.max(1);
        Ok(PasswordPool {
            running: Arc::new(Semaphore::new(cores)),
            admitted: Arc::new(Semaphore::new(cores + QUEUE_MAX)),
            setting: Arc::new(Semaphore::new(1)),
            nobody,
            entropy,
            metrics,
            executor: Executor::Threads,
        })
    }

    /// Hashes where `executor` makes its calls; on threads unless told otherwise.
    #[must_use]
    pub fn on(self, executor: Executor) -> PasswordPool {
        PasswordPool { executor, ..self }
    }

    /// Whether `password` is the one behind `stored`. `None`, for a name that nobody has, costs the same work
    /// and is always wrong.
    ///
    /// # Errors
    /// [`PasswordError::Busy`], or [`PasswordError::Fault`] for a stored hash that is damaged.
    pub async fn verify(
        &self,
        stored: Option<PasswordHash>,
        password: Secret<PASSWORD_BYTES_MAX>,
    ) -> Result<Verdict, PasswordError> {
        let is_known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.clone());
        let verdict = self.run(move || verify_now(password.expose(), &stored)).await?;
        Ok(if is_known { verdict } else { Verdict::Wrong })
    }

    /// The hash of `password`, with a salt of its own, for a password that is being set.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] or [`PasswordError::Fault`].
    pub async fn hash(&self, password: Secret<PASSWORD_BYTES_MAX>) -> Result<PasswordHash, PasswordError> {
        let _turn = self.setting.acquire().await.map_err(|_| PasswordError::Busy)?;
        let salt = random_bytes(&*self.entropy);
        self.run(move || hash_now(password.expose(), &salt)).await
    }

    /// Runs `work` where it may keep a core busy for long. Once begun it is finished, and keeps its place until
    /// then, even when nobody waits for it any more: a peer that hangs up does not free a core.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let hashing = self.executor.run(Call::Hash, move || timed(work, (admitted, running)));
        let (result, took) = hashing.await.map_err(PasswordError::Fault)?;
        self.metrics.password_hashed(took);
        result
    }
}

impl std::fmt::Debug for PasswordPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordPool")
            .field("free", &self.running.available_permits())
            .finish_non_exhaustive()
    }
}

/// The hash of a password, on this thread. For a start-up, which has nobody waiting.
///
/// # Errors
/// [`PasswordError::Fault`].
pub fn hash_now(password: &str, salt: &[u8; SALT_BYTES]) -> Result<PasswordHash, PasswordError> {
    let hash = argon2()?.hash_password_with_salt(password.as_bytes(), salt).map_err(fault)?;
    Ok(PasswordHash(hash.to_string()))
}

/// A hash as good as any, with the work of any: chance stands where Argon2's output would, so that there is no
/// password to know.
fn hash_of_nobody(
    salt: &[u8; SALT_BYTES],
    output: &[u8; OUTPUT_BYTES],
) -> argon2::password_hash::Result<PasswordHash> {
    let argon2 = argon2().map_err(|_| argon2::password_hash::Error::ParamsInvalid)?;
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: argon2.params().try_into()?,
        salt: Some(phc::Salt::new(salt)?),
        hash: Some(phc::Output::new(output)?),
    };
    Ok(PasswordHash(hash.to_string()))
}

fn verify_now(password: &str, stored: &PasswordHash) -> Result<Verdict, PasswordError> {
    let stored: &str = &stored.0;
    match argon2()?.verify_password(password.as_bytes(), stored) {
        Ok(()) => Ok(Verdict::Right),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(error) => Err(fault(error)),
    }
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| PasswordError::Fault(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn fault(error: argon2::password_hash::Error) -> PasswordError {
    PasswordError::Fault(error.to_string())
}

fn timed<T>(
    work: impl FnOnce() -> T,
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
) -> (T, Duration) {
    let begun = Instant::now();
    (work(), begun.elapsed())
}

/// Bytes of a hash.
const OUTPUT_BYTES: usize = Params::DEFAULT_OUTPUT_LEN;
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
/// Passwords that may wait for a core; with 17 ms each, the last of them waits about half a second on two cores.
pub const QUEUE_MAX: usize = 64;

// The minimum that OWASP recommends for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    fn pool(cores: usize) -> (PasswordPool, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        (PasswordPool::new(cores, Arc::new(OsEntropy), Arc::clone(&metrics)).unwrap(), metrics)
    }

    fn secret(text: &str) -> Secret<PASSWORD_BYTES_MAX> {
        Secret::parse(text).unwrap()
    }

    #[tokio::test]
    async fn the_right_password_fits_and_no_other_does() {
        let (pool, _) = pool(2);
        let stored = pool.hash(secret("correct horse")).await.unwrap();
        assert!(stored.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.0);
        assert_eq!(pool.verify(Some(stored.clone()), secret("correct horse")).await, Ok(Verdict::Right));
        assert_eq!(pool.verify(Some(stored), secret("correct horsf")).await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn the_same_password_is_never_the_same_hash() {
        let (pool, _) = pool(2);
        let (one, other) = (pool.hash(secret("twice")).await, pool.hash(secret("twice")).await);
        assert_ne!(one.unwrap(), other.unwrap());
    }

    #[tokio::test]
    async fn an_unknown_name_costs_one_hash_with_the_same_parameters() {
        let (pool, metrics) = pool(1);
        let stored = pool.hash(secret("somebody's")).await.unwrap();
        let parameters =
            |hash: &PasswordHash| hash.0.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parameters(&pool.nobody), parameters(&stored));
        assert!(metrics.render().contains("hark_password_hash_seconds_count 1\n"));
        assert_eq!(pool.verify(None, secret("somebody's")).await, Ok(Verdict::Wrong));
        assert!(metrics.render().contains("hark_password_hash_seconds_count 2\n"));
    }

    #[tokio::test]
    async fn a_full_queue_answers_busy_at_once_and_lets_in_again_later() {
        let (pool, _) = pool(1);
        let every_place = Arc::clone(&pool.admitted).acquire_many_owned(QUEUE_MAX as u32 + 1).await.unwrap();
        assert_eq!(pool.verify(None, secret("anything")).await, Err(PasswordError::Busy));
        drop(every_place);
        assert_eq!(pool.verify(None, secret("anything")).await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn a_damaged_hash_is_a_fault_and_not_a_wrong_password() {
        let (pool, _) = pool(1);
        let verdict = pool.verify(Some(PasswordHash("not a hash".into())), secret("x")).await;
        assert!(matches!(verdict, Err(PasswordError::Fault(_))), "{verdict:?}");
    }
}
