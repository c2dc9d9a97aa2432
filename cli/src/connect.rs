//! The way to the server: whom to trust, who logs in, and how long to wait when the connection is lost.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use hark_sdk::{Address, Client, ClientBuilder, ClientEvent, ClientState, Credentials, Reconnect};
use tokio::time::timeout;

use crate::context::{Context, TrustChoice};
use crate::exit::{Done, Failure, Outcome};
use crate::output::note;
use crate::secret;

/// The program's name and version, for the server's logs.
pub(crate) const AGENT: &str = concat!("hark/", env!("CARGO_PKG_VERSION"));

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A script or a single command: it does not show its user as present.
    Task,
    /// A person at a terminal.
    Person,
}

impl Context {
    /// Settles whom to trust where nobody has said it: the system, if it knows the certificate's issuer, or a
    /// person who is shown the fingerprint. Sends nothing secret.
    pub(crate) async fn settle_trust(mut self) -> Done<Context> {
        let server = self.server()?.clone();
        if let TrustChoice::Ca(path) = &self.trust {
            check_authority(path)?;
        }
        if self.trust == TrustChoice::Unsaid && secret::is_interactive() {
            self.trust = ask_for_trust(&server).await?;
        }
        Ok(self)
    }

    /// A builder for the server, with trust and name.
    pub(crate) fn builder(&self) -> Done<ClientBuilder> {
        let builder = Client::builder(self.server()?.to_string());
        Ok(builder.trust(self.trust.to_sdk()).agent(AGENT))
    }

    /// The account to log in with.
    pub(crate) fn account(&self) -> Done<&str> {
        self.user.as_deref().ok_or_else(|| {
            Failure::usage("say who you are: run `hark login NAME` first, or pass --user or set HARK_USER")
        })
    }

    /// Connects and logs in.
    pub(crate) async fn connect(self, purpose: Purpose) -> Done<Client> {
        let context = self.settle_trust().await?;
        let credentials = context.credentials()?;
        let mut builder = context.builder()?.credentials(credentials).visible(purpose == Purpose::Person);
        if purpose == Purpose::Task
            && let Some(patience) = send_patience(context.patience_s)
        {
            builder = builder.send_within(patience);
        }
        // A short cap: what waits here is a person or a script, and the server's own word on when to come back
        // is kept in any case.
        let reconnect = Reconnect { cap: Duration::from_secs(10), ..Reconnect::default() };
        Ok(builder.reconnect(reconnect).connect().await?)
    }

    fn credentials(&self) -> Done<Credentials> {
        let user = self.account()?;
        let credentials = match &self.token {
            Some(token) => Credentials::device_token(user, token),
            None => Credentials::password(user, &secret::present(self.password.as_ref(), user)?),
        };
        credentials.map_err(|error| Failure::usage(format!("the login of {user:?} can not be used: {error}")))
    }
}

/// The file must be there and hold a certificate, or a missing path would look like a server that can not be
/// trusted.
fn check_authority(path: &Path) -> Done {
    let name = path.display();
    let pem = fs::read(path).map_err(|error| {
        Failure::usage(format!(
            "the certificate authority {name} can not be read: {error}; pass it with --ca FILE"
        ))
    })?;
    match pem.windows(PEM_MARK.len()).any(|window| window == PEM_MARK) {
        true => Ok(()),
        false => {
            Err(Failure::usage(format!("there is no certificate in {name}; pass a PEM file with --ca FILE")))
        }
    }
}

const PEM_MARK: &[u8] = b"-----BEGIN CERTIFICATE-----";

async fn ask_for_trust(server: &Address) -> Done<TrustChoice> {
    let probe = Client::builder(server.to_string()).agent(AGENT).probe().await?;
    if probe.issuer_known {
        return Ok(TrustChoice::System);
    }
    note(format!("Nobody that this machine trusts vouches for the server {server}."));
    note(format!("Its certificate has the fingerprint {}.", probe.fingerprint));
    note("Compare it with what the server printed when it started, or with what its operator tells you.");
    match secret::confirm("Is it the same, and do you want to trust this certificate from now on?") {
        true => Ok(TrustChoice::Pin(probe.fingerprint)),
        false => Err(Failure::new(Outcome::NotReached, "the server is not trusted; nothing was sent")),
    }
}

/// How long a command that changes something waits for a lost connection, unless it is told otherwise.
pub(crate) const PATIENCE_S: u64 = 60;

/// How long a command waits for the word on a message, refusals that may pass included; `None` = for ever.
fn send_patience(patience_s: Option<u64>) -> Option<Duration> {
    Some(patience_s.unwrap_or(PATIENCE_S)).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// Waits for `work`, but not for ever for a lost connection: after `patience_s` seconds without one the client is
/// closed, and whatever the work still waits for fails with what is known about it. 0 = for ever.
pub(crate) async fn with_patience<T>(
    client: &Client,
    patience_s: u64,
    work: impl Future<Output = Done<T>>,
) -> Done<T> {
    let give_up = async {
        lost_for(client, patience_s).await;
        client.close_within(Duration::ZERO).await;
        std::future::pending().await
    };
    tokio::select! {
        // The work first: an answer that is there counts, whatever became of the connection.
        biased;
        done = work => done,
        never = give_up => never,
    }
}

/// Resolves when the client has had no connection for so long; never, once it is closed.
async fn lost_for(client: &Client, patience_s: u64) {
    if patience_s == 0 {
        return std::future::pending().await;
    }
    let mut events = client.events();
    loop {
        while client.state() == ClientState::Connected {
            if next(&mut events).await.is_none() {
                return std::future::pending().await;
            }
        }
        if timeout(Duration::from_secs(patience_s), client.connected()).await.is_err() {
            return;
        }
        if client.state() != ClientState::Connected {
            return std::future::pending().await;
        }
    }
}

async fn next(events: &mut hark_sdk::ClientEvents) -> Option<ClientEvent> {
    futures_util::StreamExt::next(events).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_readable_file_with_a_certificate() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert!(check_authority(file.path()).is_ok());
        fs::write(file.path(), "no certificate").unwrap();
        assert_eq!(check_authority(file.path()).unwrap_err().code(), 2);
        let failure = check_authority(Path::new("/nonexistent/ca.pem")).unwrap_err();
        assert!(failure.code() == 2 && failure.sentence().unwrap().contains("/nonexistent/ca.pem"));
    }
}
