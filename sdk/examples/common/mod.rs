//! What the examples share: a client from the environment.
//!
//! `HARK_SERVER` (default 127.0.0.1), `HARK_USER`, `HARK_PASSWORD` or `HARK_TOKEN`, and `HARK_CA` (a PEM file) or
//! `HARK_PIN` (a fingerprint); without either of the last two the operating system's authorities are trusted.

use std::env;
use std::error::Error;

use hark_sdk::{Client, ClientBuilder, Credentials, RoomErrorKind, Trust};

/// What `main` returns.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// A connected client.
#[allow(dead_code, reason = "not every example connects without more ado")]
pub(crate) async fn client() -> Outcome<Client> {
    Ok(builder()?.connect().await?)
}

/// A client that is yet to be connected.
pub(crate) fn builder() -> Outcome<ClientBuilder> {
    let user = env::var("HARK_USER").map_err(|_| "HARK_USER is not set")?;
    let credentials = match env::var("HARK_TOKEN") {
        Ok(token) => Credentials::device_token(&user, &token)?,
        Err(_) => {
            let password =
                env::var("HARK_PASSWORD").map_err(|_| "neither HARK_PASSWORD nor HARK_TOKEN is set")?;
            Credentials::password(&user, &password)?
        }
    };
    let trust = match (env::var("HARK_PIN"), env::var_os("HARK_CA")) {
        (Ok(pin), _) => Trust::Pin(pin.parse()?),
        (Err(_), Some(path)) => Trust::CaFile(path.into()),
        (Err(_), None) => Trust::System,
    };
    let server = env::var("HARK_SERVER").unwrap_or_else(|_| "127.0.0.1".to_owned());
    Ok(Client::builder(server).trust(trust).credentials(credentials).agent("hark-example/1"))
}

/// The room called `name`, of which the account is a member from now on. Makes it if there is none.
#[allow(dead_code, reason = "not every example enters a room")]
pub(crate) async fn enter(client: &Client, name: &str) -> Outcome<hark_sdk::Room> {
    match client.join(name).await {
        Err(error) if *error.kind() == RoomErrorKind::NotFound => {
            Ok(client.create_room(hark_sdk::NewRoom::public(name)).await?)
        }
        joined => Ok(joined?),
    }
}

/// The argument at a place, or what it is unless given.
#[allow(dead_code, reason = "not every example takes arguments")]
pub(crate) fn argument(place: usize, otherwise: &str) -> String {
    env::args().nth(place).unwrap_or_else(|| otherwise.to_owned())
}
