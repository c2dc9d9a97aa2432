//! Where a server listens: a host and a port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

/// The port that a Hark server listens on unless it is told otherwise.
pub const DEFAULT_PORT: u16 = 4275;

/// A host, by name or number, and a port. Reads `host`, `host:port`, `[v6]`, `[v6]:port` and a bare v6 number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The host's name or number, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadAddress {
    /// There is no host.
    #[error("{0:?} has no host")]
    NoHost(String),
    /// What stands behind the colon is not a port.
    #[error("{0:?} is not a port between 1 and 65535")]
    Port(String),
    /// The host has characters that no host has.
    #[error("{0:?} is not a host")]
    Host(String),
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Address, BadAddress> {
        let (host, port) = split(text.trim())?;
        if host.is_empty() {
            return Err(BadAddress::NoHost(text.to_owned()));
        }
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if !host.chars().all(is_host) {
            return Err(BadAddress::Host(host.to_owned()));
        }
        Ok(Address { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn split(text: &str) -> Result<(&str, u16), BadAddress> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| BadAddress::Host(text.to_owned()))?;
        return match rest.strip_prefix(':') {
            Some(digits) => Ok((host, port(digits)?)),
            None if rest.is_empty() => Ok((host, DEFAULT_PORT)),
            None => Err(BadAddress::Host(text.to_owned())),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, DEFAULT_PORT));
    }
    match text.split_once(':') {
        Some((host, digits)) => Ok((host, port(digits)?)),
        None => Ok((text, DEFAULT_PORT)),
    }
}

fn port(digits: &str) -> Result<u16, BadAddress> {
    match digits.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(BadAddress::Port(digits.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them() {
        let cases = [
            ("chat.example.org", "chat.example.org", DEFAULT_PORT),
            ("chat.example.org:99", "chat.example.org", 99),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("::1", "::1", DEFAULT_PORT),
            ("[::1]", "::1", DEFAULT_PORT),
            ("[::1]:7", "::1", 7),
        ];
        for (text, host, port) in cases {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
        for bad in ["", ":1", "a:", "a:0", "a:65536", "a:b", "[::1", "[::1]x", "a b", "http://a", "a/b"] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
