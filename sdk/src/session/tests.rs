//! The machine by itself: every state against every input, and thousands of random schedules against a model server.

use std::time::Duration;

use bytes::Bytes;
use hark_protocol::limits::Limit;
use hark_protocol::{
    AccountName, AccountRole, AuthMethod, Authenticated, Correlation, DeviceId, Frame, FrameType, LimitId,
    Line, List, PresenceMode, RawFrame, Secret, Welcome,
};

use super::*;

mod matrix;
mod model;

fn config() -> Config {
    Config {
        agent: Line::lossy("test"),
        credentials: Some(Credentials::password("ann", "correct horse").unwrap()),
        session_token: None,
        positions: Default::default(),
        presence: PresenceMode::HIDDEN,
        offline: Offline::Queue { max: 64 },
        reconnect: Reconnect::default(),
        connect_timeout: Duration::from_secs(10),
        window: 8,
    }
}

fn welcome(version: u8) -> Frame {
    let limits = [
        (LimitId::HEARTBEAT_INTERVAL_MS, 30_000),
        (LimitId::HEARTBEAT_TIMEOUT_MS, 90_000),
        (LimitId::REQUESTS_IN_FLIGHT, 9),
    ];
    Frame::Welcome(Welcome {
        version,
        capabilities: List::default(),
        limits: List::truncated(limits.map(|(id, value)| Limit { id, value }).to_vec()),
        auth_methods: List::truncated(vec![AuthMethod::PASSWORD]),
        registration: false,
        agent: Line::default(),
    })
}

fn authenticated() -> Frame {
    Frame::Authenticated(Authenticated {
        account: AccountId(1),
        name: AccountName::parse("ann").unwrap(),
        display_name: Line::default(),
        role: AccountRole::USER,
        device: DeviceId(0),
        device_token: Secret::default(),
        resumed: false,
        session_token: Secret::default(),
        session_lifetime_s: 0,
    })
}

fn raw(correlation: u32, frame: &Frame) -> RawFrame {
    RawFrame::from_stored(frame.encode(Correlation(correlation)).to_bytes()).unwrap()
}

/// A frame of a type that nobody knows.
fn strange(frame_type: u16, correlation: u32) -> RawFrame {
    let mut bytes = Frame::Ok(hark_protocol::Ok {}).encode(Correlation(correlation)).as_slice().to_vec();
    bytes[6..8].copy_from_slice(&frame_type.to_be_bytes());
    let sum = hark_protocol::header::checksum(bytes[..16].try_into().unwrap(), &[]);
    bytes[16..20].copy_from_slice(&sum.to_be_bytes());
    RawFrame::from_stored(Bytes::from(bytes)).unwrap()
}

fn error(code: ErrorCode, retry_after_ms: u32) -> Frame {
    Frame::Error(hark_protocol::Error {
        code,
        scope: code.scope(),
        retryable: code.is_retryable(),
        resume_allowed: false,
        retry_after_ms,
        limit: LimitId(0),
        limit_value: 0,
        text: Line::default(),
    })
}

/// The header and the payload of a frame that the session sent.
fn sent(frame: &EncodedFrame) -> (Correlation, Frame) {
    let raw = RawFrame::from_stored(frame.to_bytes()).unwrap();
    (raw.header().correlation, Frame::decode(&raw).unwrap())
}

fn type_of(frame: &EncodedFrame) -> FrameType {
    sent(frame).1.frame_type()
}
