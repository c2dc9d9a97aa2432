//! The server's limits: every bound that an operator can set, its two profiles, and how WELCOME tells them.

use hark_protocol::limits::{
    BODY_OVERHEAD_BYTES, FRAME_BYTES_DEFAULT, Limit, PING_BYTES_MAX, SUBSCRIBE_ROOMS_MAX,
};
use hark_protocol::{LimitId, List};

/// Every bound that an operator can set. Units are in the names; a rate of 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of a frame sent to the server. 64 KiB: a long text, not a file.
    pub frame_bytes_max: u32,
    /// Unacknowledged events in flight on one subscription.
    pub window_events_max: u32,
    /// Unacknowledged events in flight on one connection.
    pub connection_window_events_max: u32,
    /// Requests without a final answer on one connection. A pipeline of this depth keeps the disk busy.
    pub requests_in_flight_max: u32,
    /// Events in one PAGE.
    pub page_events_max: u16,
    /// Bytes of enclosed frames in one PAGE.
    pub page_bytes_max: u32,
    /// Rooms that one account may be a member of.
    pub rooms_per_account_max: u32,
    /// Members of one room.
    pub members_per_room_max: u32,
    /// Invitations that wait in one room.
    pub invites_per_room_max: u32,
    /// Devices of one account.
    pub devices_per_account_max: u32,
    /// Connections of one account at once.
    pub connections_per_account_max: u32,
    /// Subscriptions on one connection.
    pub subscriptions_max: u32,
    /// Connections to the server, by TLS or on the way there.
    pub connections_max: u32,
    /// Connections from one IPv4 address or one IPv6 /64.
    pub connections_per_address_max: u32,
    /// Sessions that one device may have; the one without a connection for the longest makes way.
    pub sessions_per_device_max: u32,
    /// Connections that have not logged in yet.
    pub unauthenticated_max: u32,
    /// Connections from one address that have not logged in yet.
    pub unauthenticated_per_address_max: u32,
    /// Milliseconds from the accepted connection to the end of the TLS handshake.
    pub tls_timeout_ms: u32,
    /// Milliseconds from the accepted connection to HELLO.
    pub hello_timeout_ms: u32,
    /// Milliseconds from the accepted connection to AUTHENTICATED.
    pub auth_timeout_ms: u32,
    /// Milliseconds from a frame's first byte to its last.
    pub frame_timeout_ms: u32,
    /// Milliseconds in which a write must make progress.
    pub write_timeout_ms: u32,
    /// Milliseconds between the signs of life that each side gives.
    pub heartbeat_interval_ms: u32,
    /// Failed logins on one connection.
    pub auth_tries_max: u32,
    /// Failed logins for one account in ten minutes.
    pub login_failures_per_account: u32,
    /// Failed logins from one address in ten minutes.
    pub login_failures_per_address: u32,
    /// Publishes a second for one account.
    pub publish_rate_per_second: u32,
    /// Publishes of one account above the rate that may come at once.
    pub publish_burst_max: u32,
    /// Frames a second from one connection that cost work and carry none (PING, SIGNAL, CANCEL, ignorable).
    pub idle_frames_per_second: u32,
}

impl Limits {
    /// For a server that only its own machine can reach: one script with 10,000 lines is not slowed down.
    pub fn open() -> Limits {
        Limits {
            connections_max: 100_000,
            connections_per_address_max: 100_000,
            unauthenticated_max: 4_096,
            unauthenticated_per_address_max: 4_096,
            connections_per_account_max: 100_000,
            login_failures_per_account: 10_000,
            login_failures_per_address: 10_000,
            publish_rate_per_second: 0,
            publish_burst_max: 0,
            idle_frames_per_second: 0,
            ..Limits::public()
        }
    }

    /// For a server that strangers can reach.
    pub fn public() -> Limits {
        Limits {
            frame_bytes_max: FRAME_BYTES_DEFAULT,
            window_events_max: 256,
            connection_window_events_max: 4_096,
            requests_in_flight_max: 256,
            page_events_max: 100,
            page_bytes_max: 256 * 1024,
            rooms_per_account_max: 10_000,
            members_per_room_max: 100_000,
            invites_per_room_max: 1_000,
            devices_per_account_max: 64,
            connections_per_account_max: 16,
            subscriptions_max: 10_000,
            connections_max: 10_000,
            connections_per_address_max: 64,
            sessions_per_device_max: 1_024,
            unauthenticated_max: 256,
            unauthenticated_per_address_max: 16,
            tls_timeout_ms: 5_000,
            hello_timeout_ms: 5_000,
            auth_timeout_ms: 10_000,
            frame_timeout_ms: 10_000,
            write_timeout_ms: 10_000,
            heartbeat_interval_ms: 30_000,
            auth_tries_max: 3,
            login_failures_per_account: 10,
            login_failures_per_address: 30,
            publish_rate_per_second: 20,
            publish_burst_max: 40,
            idle_frames_per_second: 100,
        }
    }

    /// Bytes of a PUBLISH's body: so much less than a frame that a PAGE with that one event fits into one.
    pub fn body_bytes_max(&self) -> u32 {
        self.frame_bytes_max.saturating_sub(BODY_OVERHEAD_BYTES)
    }

    /// Milliseconds without a byte after which a peer is given up: three intervals, at most 90 seconds.
    pub fn heartbeat_timeout_ms(&self) -> u32 {
        self.heartbeat_interval_ms.saturating_mul(3).min(90_000)
    }

    /// What WELCOME tells.
    pub fn advertised<const MAX: usize>(&self) -> List<Limit, MAX> {
        let rows: [(LimitId, u64); 28] = [
            (LimitId::FRAME_BYTES, self.frame_bytes_max.into()),
            (LimitId::BODY_BYTES, self.body_bytes_max().into()),
            (LimitId::WINDOW, self.window_events_max.into()),
            (LimitId::CONNECTION_WINDOW, self.connection_window_events_max.into()),
            (LimitId::REQUESTS_IN_FLIGHT, self.requests_in_flight_max.into()),
            (LimitId::PAGE_EVENTS, self.page_events_max.into()),
            (LimitId::PAGE_BYTES, self.page_bytes_max.into()),
            (LimitId::ROOMS_PER_ACCOUNT, self.rooms_per_account_max.into()),
            (LimitId::DEVICES_PER_ACCOUNT, self.devices_per_account_max.into()),
            (LimitId::CONNECTIONS_PER_ACCOUNT, self.connections_per_account_max.into()),
            (LimitId::SUBSCRIPTIONS, self.subscriptions_max.into()),
            (LimitId::HEARTBEAT_INTERVAL_MS, self.heartbeat_interval_ms.into()),
            (LimitId::HEARTBEAT_TIMEOUT_MS, self.heartbeat_timeout_ms().into()),
            (LimitId::HELLO_TIMEOUT_MS, self.hello_timeout_ms.into()),
            (LimitId::AUTH_TIMEOUT_MS, self.auth_timeout_ms.into()),
            (LimitId::FRAME_TIMEOUT_MS, self.frame_timeout_ms.into()),
            (LimitId::WRITE_TIMEOUT_MS, self.write_timeout_ms.into()),
            (LimitId::AUTH_TRIES, self.auth_tries_max.into()),
            (LimitId::PUBLISH_RATE, self.publish_rate_per_second.into()),
            (LimitId::PUBLISH_BURST, self.publish_burst_max.into()),
            (LimitId::PING_BYTES, PING_BYTES_MAX as u64),
            (LimitId::SUBSCRIBE_ROOMS, SUBSCRIBE_ROOMS_MAX as u64),
            (LimitId::MEMBERS_PER_ROOM, self.members_per_room_max.into()),
            (LimitId::CONNECTIONS, self.connections_max.into()),
            (LimitId::LOGIN_RATE, self.login_failures_per_account.into()),
            (LimitId::INVITES_PER_ROOM, self.invites_per_room_max.into()),
            (LimitId::CONNECTIONS_PER_ADDRESS, self.connections_per_address_max.into()),
            (LimitId::SESSIONS_PER_DEVICE, self.sessions_per_device_max.into()),
        ];
        List::truncated(rows.map(|(id, value)| Limit { id, value }).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welcome_tells_every_limit_that_has_an_id() {
        let told: Vec<LimitId> = Limits::open().advertised::<128>().iter().map(|limit| limit.id).collect();
        for id in LimitId::KNOWN {
            assert!(told.contains(id), "{id} is not advertised");
        }
    }
}
