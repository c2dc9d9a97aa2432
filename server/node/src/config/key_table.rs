//! The table of keys: the one place that knows each key's name, range and sentence.

use std::net::SocketAddr;
use std::path::PathBuf;

use hark_protocol::limits::{BODY_OVERHEAD_BYTES, FRAME_BYTES_MIN, RECEIVE_FRAME_BYTES_MAX};
use rustls::pki_types::ServerName;

use super::key::{Key, Stage};
use super::value::{Value, quoted, quoted_list};
use super::{LogFormat, Profile};
use crate::telemetry;

/// A row of the table for a limit: range and sentence; name and field are one word.
macro_rules! limit {
    ($field:ident, $range:expr, $sentence:literal) => {
        Key {
            path: concat!("limits.", stringify!($field)),
            sentence: $sentence,
            stage: Stage::Limits,
            set: |draft, value| value.number($range).map(|number| draft.config.limits.$field = number),
            show: |config| Some(config.limits.$field.to_string()),
        }
    };
}

/// Every key, in the order in which they are explained; those without a section come first, as TOML needs it.
pub const KEYS: &[Key] = &[
    Key {
        path: "listen",
        sentence: "Where clients connect, as IP:PORT; 0.0.0.0:4275 is every IPv4 address, [::]:4275 every \
             address.",
        stage: Stage::First,
        set: |draft, value| address(value).map(|address| draft.config.listen = address),
        show: |config| Some(quoted(&config.listen.to_string())),
    },
    Key {
        path: "metrics_listen",
        sentence: "Where /metrics, /healthz and /readyz are served without a login, so keep it local; \
             \"none\" turns them off.",
        stage: Stage::First,
        set: |draft, value| {
            let is_off = value.text()? == NONE;
            draft.config.metrics_listen = if is_off { None } else { Some(address(value)?) };
            Ok(())
        },
        show: |config| Some(quoted(&config.metrics_listen.map_or(NONE.to_owned(), |a| a.to_string()))),
    },
    Key {
        path: "data",
        sentence: "The folder that holds everything the server remembers; relative to where harkd is \
             started.",
        stage: Stage::First,
        set: |draft, value| path(value).map(|path| draft.config.data = path),
        show: |config| Some(quoted(&config.data.to_string_lossy())),
    },
    Key {
        path: "names",
        sentence: "DNS names and IP addresses by which clients reach the server; its own certificate is \
             made for them besides localhost, 127.0.0.1 and ::1.",
        stage: Stage::First,
        set: |draft, value| certificate_names(value).map(|names| draft.config.names = names),
        show: |config| Some(quoted_list(&config.names)),
    },
    Key {
        path: "tail_bytes_max",
        sentence: "Bytes of memory for the newest events of all rooms together; what does not fit is read \
             from the disk.",
        stage: Stage::First,
        set: |draft, value| value.number(TAIL_BYTES).map(|bytes| draft.config.tail_bytes_max = bytes),
        show: |config| Some(config.tail_bytes_max.to_string()),
    },
    Key {
        path: "shutdown_grace_ms",
        sentence: "Milliseconds in which a shutdown answers what was asked and says goodbye to every client.",
        stage: Stage::First,
        set: |draft, value| value.number(0..=600_000).map(|ms| draft.config.shutdown_grace_ms = ms),
        show: |config| Some(config.shutdown_grace_ms.to_string()),
    },
    Key {
        path: "shutdown_spread_ms",
        sentence: "Milliseconds over which a shutdown spreads its farewells at most, so that many clients do not \
             come back at once; never more than half of shutdown_grace_ms.",
        stage: Stage::First,
        set: |draft, value| value.number(0..=600_000).map(|ms| draft.config.shutdown_spread_ms = ms),
        show: |config| Some(config.shutdown_spread_ms.to_string()),
    },
    Key {
        path: "retention.max_age_s",
        sentence: "Seconds after which events go, in every room, whose owners may ask for less; 0 keeps them for \
             ever.",
        stage: Stage::First,
        set: |draft, value| {
            value.number(0..=u64::from(u32::MAX)).map(|age| draft.config.retention.max_age_s = age)
        },
        show: |config| Some(config.retention.max_age_s.to_string()),
    },
    Key {
        path: "retention.max_events",
        sentence: "Events that a room keeps at most, joins and the like included; 0 is no bound.",
        stage: Stage::First,
        set: |draft, value| value.number(0..=A_LOT).map(|events| draft.config.retention.max_events = events),
        show: |config| Some(config.retention.max_events.to_string()),
    },
    Key {
        path: "retention.max_bytes",
        sentence: "Bytes of events that a room keeps at most; 0 is no bound; space that becomes free is used \
             again, and the files do not shrink.",
        stage: Stage::First,
        set: |draft, value| value.number(0..=A_LOT).map(|bytes| draft.config.retention.max_bytes = bytes),
        show: |config| Some(config.retention.max_bytes.to_string()),
    },
    Key {
        path: "tls.cert",
        sentence: "A PEM file with a certificate of yours and those that lead to its root; without it the \
             server makes its own.",
        stage: Stage::First,
        set: |draft, value| path(value).map(|path| draft.cert = Some(path)),
        show: |config| config.tls.as_ref().map(|tls| quoted(&tls.cert.to_string_lossy())),
    },
    Key {
        path: "tls.key",
        sentence: "The PEM file with the private key of tls.cert.",
        stage: Stage::First,
        set: |draft, value| path(value).map(|path| draft.key = Some(path)),
        show: |config| config.tls.as_ref().map(|tls| quoted(&tls.key.to_string_lossy())),
    },
    Key {
        path: "registration.enabled",
        sentence: "Whether people may make accounts with the registration token; an administrator always \
             may.",
        stage: Stage::First,
        set: |draft, value| value.boolean().map(|enabled| draft.config.registration = enabled),
        show: |config| Some(config.registration.to_string()),
    },
    Key {
        path: "session.lifetime_s",
        sentence: "Seconds for which a session is kept while it has no connection, so that its client need not \
             log in anew.",
        stage: Stage::First,
        set: |draft, value| value.number(LIFETIME_S).map(|s| draft.config.session_lifetime_s = s),
        show: |config| Some(config.session_lifetime_s.to_string()),
    },
    Key {
        path: "log.level",
        sentence: "What is logged: off, error, warn, info, debug or trace, also by part, like \
             \"info,hark_server=debug\".",
        stage: Stage::First,
        set: |draft, value| {
            telemetry::parse_level(value.text()?)?;
            draft.config.log_level = value.text()?.to_owned();
            Ok(())
        },
        show: |config| Some(quoted(&config.log_level)),
    },
    Key {
        path: "log.format",
        sentence: "human for people, json for machines, auto for human on a terminal and json elsewhere.",
        stage: Stage::First,
        set: |draft, value| value.one_of(LOG_FORMATS).map(|format| draft.config.log_format = format),
        show: |config| word_of(LOG_FORMATS, config.log_format),
    },
    Key {
        path: "limits.profile",
        sentence: "Where the limits begin: open for a server that only this machine reaches, public for \
             one that strangers reach; by default listen decides.",
        stage: Stage::First,
        set: |draft, value| value.one_of(PROFILES).map(|profile| draft.profile = Some(profile)),
        show: |config| word_of(PROFILES, config.profile),
    },
    limit!(
        frame_bytes_max,
        u64::from(FRAME_BYTES_MIN)..=u64::from(RECEIVE_FRAME_BYTES_MAX),
        "Payload bytes of a frame sent to the server; a message's body may be 256 bytes smaller."
    ),
    limit!(window_events_max, 1..=65_536, "Events that one subscription may have on the way without an ACK."),
    limit!(
        connection_window_events_max,
        1..=1_048_576,
        "Events that one connection may have on the way without an ACK."
    ),
    limit!(
        requests_in_flight_max,
        1..=65_536,
        "Requests that one connection may have waiting for their answers."
    ),
    limit!(page_events_max, 1..=10_000, "Events in one page of history."),
    limit!(
        page_bytes_max,
        u64::from(FRAME_BYTES_MIN)..=u64::from(RECEIVE_FRAME_BYTES_MAX - BODY_OVERHEAD_BYTES),
        "Bytes of the events in one page of history."
    ),
    limit!(rooms_per_account_max, 1..=MANY, "Rooms that one account may be a member of."),
    limit!(members_per_room_max, 2..=MANY, "Members of one room."),
    limit!(invites_per_room_max, 1..=MANY, "Invitations that wait in one room."),
    limit!(
        devices_per_account_max,
        1..=MANY,
        "Devices, which are logins that last, of one account; the one unused the longest makes way."
    ),
    limit!(
        sessions_per_device_max,
        1..=MANY,
        "Sessions of one device; the one without a connection for the longest makes way."
    ),
    limit!(connections_per_account_max, 1..=MANY, "Connections that one account may have at once."),
    limit!(subscriptions_max, 1..=MANY, "Rooms that one connection may follow."),
    limit!(connections_max, 1..=MANY, "Connections to the server, those on their way to a login included."),
    limit!(
        connections_per_address_max,
        1..=MANY,
        "Connections from one IPv4 address or one IPv6 /64; behind a proxy or NAT many people share one."
    ),
    limit!(unauthenticated_max, 1..=MANY, "Connections that have not logged in yet."),
    limit!(
        unauthenticated_per_address_max,
        1..=MANY,
        "Connections from one address that have not logged in yet."
    ),
    limit!(
        tls_timeout_ms,
        TIMEOUT,
        "Milliseconds from the accepted connection to the end of the TLS handshake."
    ),
    limit!(hello_timeout_ms, TIMEOUT, "Milliseconds from the accepted connection to HELLO."),
    limit!(auth_timeout_ms, TIMEOUT, "Milliseconds from the accepted connection to a login."),
    limit!(frame_timeout_ms, TIMEOUT, "Milliseconds from a frame's first byte to its last."),
    limit!(write_timeout_ms, TIMEOUT, "Milliseconds in which a client must take some of what is sent to it."),
    limit!(
        heartbeat_interval_ms,
        200..=45_000,
        "Milliseconds between signs of life; after three without one a client is given up."
    ),
    limit!(auth_tries_max, 1..=100, "Failed logins on one connection."),
    limit!(login_failures_per_account, 1..=MANY, "Failed logins for one account in ten minutes."),
    limit!(login_failures_per_address, 1..=MANY, "Failed logins from one address in ten minutes."),
    limit!(publish_rate_per_second, 0..=MANY, "Messages a second from one account; 0 is no limit."),
    limit!(publish_burst_max, 0..=MANY, "Messages of one account above the rate that may come at once."),
    limit!(
        idle_frames_per_second,
        0..=MANY,
        "Frames a second from one connection that cost work and carry none, such as PING; 0 is no limit."
    ),
];

fn address(value: &Value) -> Result<SocketAddr, String> {
    value.text()?.parse().map_err(|_| {
        "an IP address and a port are needed, like 127.0.0.1:4275 or [::]:4275; names are not looked up"
            .to_owned()
    })
}

fn path(value: &Value) -> Result<PathBuf, String> {
    match value.text()? {
        "" => Err("a path is needed; leave the key out for the default".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

fn certificate_names(value: &Value) -> Result<Vec<String>, String> {
    let names = value.list()?;
    let is_name = |name: &String| ServerName::try_from(name.as_str()).is_ok();
    match names.iter().find(|name| !is_name(name)) {
        Some(bad) => Err(format!("{} is neither a DNS name nor an IP address", quoted(bad))),
        None => Ok(names),
    }
}

fn word_of<T: PartialEq>(words: &[(&str, T)], meaning: T) -> Option<String> {
    words.iter().find(|(_, m)| *m == meaning).map(|(word, _)| quoted(word))
}

/// The largest whole number that TOML has.
const A_LOT: u64 = i64::MAX as u64;
const NONE: &str = "none";
const PROFILES: &[(&str, Profile)] = &[("open", Profile::Open), ("public", Profile::Public)];
const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
/// More than any machine can serve, and far from an overflow.
const MANY: u64 = 10_000_000;
/// Below 100 ms nobody far away gets through; above ten minutes a deadline is none.
const TIMEOUT: std::ops::RangeInclusive<u64> = 100..=600_000;
/// From a minute, in which a client comes back, to ten years.
const LIFETIME_S: std::ops::RangeInclusive<u64> = 60..=315_360_000;
/// From one megabyte, in which a page of the largest messages fits, to what no machine has.
const TAIL_BYTES: std::ops::RangeInclusive<u64> = 1_048_576..=1_099_511_627_776;
