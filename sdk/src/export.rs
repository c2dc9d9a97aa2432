//! A session that outlives its process: what an application keeps to go on where it was.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hark_protocol::{AccountName, Epoch, RoomId, Secret, Seq};
use thiserror::Error;

use crate::credentials::Token;
use crate::event::Position;

/// Where a client was: its session and how far it had come in each room that it followed. Made by
/// [`Client::export_session`](crate::Client::export_session), taken up by
/// [`ClientBuilder::resume`](crate::ClientBuilder::resume).
///
/// **It is a secret**, as good as a login: whoever has it can speak for the account. Its `Debug` leaves the token out;
/// [`SessionExport::expose`] does not, and is what belongs into a file that nobody else can read.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionExport {
    pub(crate) server: String,
    pub(crate) account: AccountName,
    pub(crate) token: Option<Token>,
    pub(crate) positions: BTreeMap<RoomId, Position>,
}

/// A text that is no exported session, or not a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is not an exported session, or not a whole one")]
pub struct BadExport;

impl SessionExport {
    /// The server's address, as the client's builder was given it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The account.
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    /// Whether there is a session in it; without one (a login without a device) only the positions are of use.
    pub fn has_session(&self) -> bool {
        self.token.is_some()
    }

    /// How far the application had come in a room.
    pub fn position(&self, room: RoomId) -> Option<Position> {
        self.positions.get(&room).copied()
    }

    /// The whole of it as text, **the token included**: lines of printable ASCII that [`SessionExport::from_str`]
    /// reads.
    pub fn expose(&self) -> String {
        let token = self.token.as_ref().map_or("", |token| token.expose());
        let mut text = format!("{MAGIC}\n{}\n{}\n{token}\n", self.server, self.account);
        for (room, position) in &self.positions {
            text.push_str(&format!("{} {} {}\n", room.0, position.epoch.0, position.seq.0));
        }
        let sum = crc32fast::hash(text.as_bytes());
        text.push_str(&format!("end {sum:08x}\n"));
        text
    }
}

impl FromStr for SessionExport {
    type Err = BadExport;

    fn from_str(text: &str) -> Result<SessionExport, BadExport> {
        let end = text.rfind("end ").ok_or(BadExport)?;
        let sum = u32::from_str_radix(text[end + 4..].trim_end(), 16).map_err(|_| BadExport)?;
        if crc32fast::hash(&text.as_bytes()[..end]) != sum {
            return Err(BadExport);
        }
        let mut lines = text[..end].lines();
        let mut line = || lines.next().ok_or(BadExport);
        if line()? != MAGIC {
            return Err(BadExport);
        }
        let (server, account, token) = (line()?.to_owned(), line()?, line()?);
        let account = AccountName::parse(account).map_err(|_| BadExport)?;
        let token = match token {
            "" => None,
            token => Some(Secret::parse(token).map_err(|_| BadExport)?),
        };
        let positions = lines.map(read_position).collect::<Result<_, _>>()?;
        Ok(SessionExport { server, account, token, positions })
    }
}

fn read_position(line: &str) -> Result<(RoomId, Position), BadExport> {
    let numbers: Vec<u64> =
        line.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|_| BadExport)?;
    match numbers[..] {
        [room, epoch, seq] => Ok((RoomId(room), Position { epoch: Epoch(epoch), seq: Seq(seq) })),
        _ => Err(BadExport),
    }
}

/// Never prints the token.
impl fmt::Debug for SessionExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionExport")
            .field("server", &self.server)
            .field("account", &self.account)
            .field("positions", &self.positions.len())
            .finish_non_exhaustive()
    }
}

const MAGIC: &str = "hark-session 1";

#[cfg(test)]
mod tests {
    use super::*;

    fn export(token: Option<&str>) -> SessionExport {
        let position = |seq| Position { epoch: Epoch(u64::MAX), seq: Seq(seq) };
        SessionExport {
            server: "[::1]:4275".into(),
            account: AccountName::parse("ann").unwrap(),
            token: token.map(|token| Secret::parse(token).unwrap()),
            positions: [(RoomId(1), position(0)), (RoomId(u64::MAX), position(9))].into(),
        }
    }

    #[test]
    fn what_is_exposed_is_read_again() {
        for token in [None, Some("end of the line ~!")] {
            assert_eq!(export(token).expose().parse(), Ok(export(token)));
        }
    }

    #[test]
    fn a_text_that_was_cut_or_changed_is_not_taken() {
        let text = export(Some("secret")).expose();
        for end in 0..text.len() - 1 {
            assert_eq!(text[..end].parse::<SessionExport>(), Err(BadExport), "{end}");
        }
        for at in 0..text.len() - 1 {
            let mut broken = text.clone().into_bytes();
            broken[at] ^= 1;
            let broken = String::from_utf8(broken).unwrap();
            assert_ne!(broken.parse(), Ok(export(Some("other"))), "{at}");
            assert!(broken.parse::<SessionExport>().is_err(), "{at}");
        }
    }

    #[test]
    fn printing_it_for_a_log_does_not_tell_the_token() {
        assert!(!format!("{:?}", export(Some("very secret"))).contains("secret"));
    }
}
