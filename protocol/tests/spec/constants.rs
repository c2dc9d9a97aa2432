//! The registry against the crate's constants and tables, both ways: what one has and the other has not, fails.

use std::collections::{BTreeMap, BTreeSet};

use hark_protocol::wire::{Field, Wire};
use hark_protocol::{
    AccountRole, AuthMethod, Capability, Direction, Disposition, Durability, EndReason, ErrorCode, Frame,
    FrameType, From, GapReason, HEADER_BYTES, HistoryPolicy, Kind, Level, LimitId, MAGIC, PresenceMode,
    PresenceState, RoomFilter, RoomRole, Scope, SignalKind, SubscriptionMode, VERSION, Verdict, Visibility,
    kind, limits,
};

use crate::registry::{Form, Registry, spec_dir};

#[test]
fn the_header_is_the_registry_s() {
    let registry = Registry::load();
    assert_eq!(registry.protocol.version, VERSION);
    assert_eq!(registry.protocol.magic, crate::hex::encode(&MAGIC));
    assert_eq!(registry.protocol.header_bytes, HEADER_BYTES);
    let mut offset = 0;
    for row in &registry.header {
        assert_eq!(row.offset, offset, "{}", row.name);
        offset += row.size;
        if row.name == "checksum" {
            assert_eq!(row.offset, registry.protocol.checked_bytes);
        }
    }
    assert_eq!(offset, HEADER_BYTES);
}

#[test]
fn the_transport_s_names_stand_in_the_prose() {
    let protocol = Registry::load().protocol;
    let page = crate::registry::read("conversation.md");
    assert!(page.contains(&format!("`{}`", protocol.alpn)));
    assert!(page.contains(&format!("port is {}", protocol.port)));
}

fn names<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Vec<(&'a str, &'a str)> {
    fields.into_iter().map(|field| (field.name, field.wire)).collect()
}

fn registered(fields: &[crate::registry::Field]) -> Vec<(&str, &str)> {
    fields.iter().map(|field| (field.name.as_str(), field.layout.as_str())).collect()
}

#[test]
fn frames_have_the_registry_s_codes_and_fields_in_order() {
    let registry = Registry::load();
    let theirs: Vec<_> =
        registry.frame.iter().map(|row| (row.code, row.name.as_str(), registered(&row.fields))).collect();
    let ours: Vec<_> = Frame::TABLES
        .iter()
        .map(|(frame, fields)| (frame.0, frame.name().expect("a payload's type has a name"), names(*fields)))
        .collect();
    assert_eq!(ours, theirs);
    let known: Vec<_> = FrameType::KNOWN.iter().map(|frame| frame.0).collect();
    assert_eq!(known, theirs.iter().map(|(code, ..)| *code).collect::<Vec<_>>());
    for row in &registry.frame {
        assert_eq!(FrameType(row.code).is_ignorable(), row.ignorable, "{}", row.name);
        assert!(!row.ignorable || row.answered_by.is_empty(), "{}: a request is never ignorable", row.name);
        assert!(["client", "server", "both"].contains(&row.sent_by.as_str()), "{}", row.name);
        assert!(row.since >= 1 && row.since <= registry.protocol.version, "{}", row.name);
        assert!(spec_dir().join(format!("{}.md", row.chapter)).exists(), "{}: no chapter", row.name);
        for answer in &row.answered_by {
            assert_ne!(registry.frame(answer).sent_by, "client", "{}", row.name);
        }
        for error in &row.errors {
            assert!(registry.error.iter().any(|e| e.name == error.code), "{}: {}", row.name, error.code);
        }
        if let Some(capability) = &row.capability {
            assert!(Capability::KNOWN.iter().any(|known| known.name() == Some(capability)), "{}", row.name);
        }
    }
}

#[test]
fn records_and_bodies_have_the_registry_s_fields_in_order() {
    let registry = Registry::load();
    let theirs: BTreeMap<_, _> =
        registry.record.iter().map(|row| (row.name.as_str(), registered(&row.fields))).collect();
    macro_rules! table {
        ($($record:ty),+) => { BTreeMap::from([$((<$record as Wire>::NAME, names(<$record>::FIELDS))),+]) };
    }
    let ours = table!(
        limits::Limit,
        hark_protocol::RoomSummary,
        hark_protocol::Retention,
        hark_protocol::Member,
        hark_protocol::SubscribeItem,
        hark_protocol::VerdictItem,
        hark_protocol::Account
    );
    assert_eq!(ours, theirs);
    let theirs: BTreeMap<_, _> =
        registry.body.iter().map(|row| (row.kind.as_str(), registered(&row.fields))).collect();
    let ours = BTreeMap::from([
        ("join", names(kind::JoinBody::FIELDS)),
        ("kick", names(kind::KickBody::FIELDS)),
        ("topic", names(kind::TopicBody::FIELDS)),
        ("role", names(kind::RoleBody::FIELDS)),
        ("invite", names(kind::InviteBody::FIELDS)),
        ("retention", names(kind::RetentionBody::FIELDS)),
    ]);
    assert_eq!(ours, theirs);
}

/// Name on the wire, width in bytes and known values of an open enumeration.
type EnumTable = (&'static str, usize, Vec<(u16, &'static str)>);

fn enums() -> Vec<EnumTable> {
    macro_rules! tables {
        ($($enumeration:ident),+) => {
            vec![$((
                <$enumeration as Wire>::NAME,
                size_of::<$enumeration>(),
                $enumeration::KNOWN.iter().map(|known| (u16::from(known.0), known.name().unwrap())).collect(),
            )),+]
        };
    }
    tables!(
        AccountRole,
        AuthMethod,
        Capability,
        Direction,
        Disposition,
        Durability,
        EndReason,
        ErrorCode,
        FrameType,
        From,
        GapReason,
        HistoryPolicy,
        Kind,
        Level,
        LimitId,
        PresenceMode,
        PresenceState,
        RoomFilter,
        RoomRole,
        Scope,
        SignalKind,
        SubscriptionMode,
        Verdict,
        Visibility
    )
}

#[test]
fn enumerations_have_the_registry_s_values() {
    let registry = Registry::load();
    let ours: BTreeMap<_, _> = enums().into_iter().map(|(name, _, values)| (name, values)).collect();
    assert_eq!(ours, registry.words());
    for (name, width, _) in enums() {
        match registry.header.iter().find(|row| name == "frame type" && row.name == "type") {
            Some(row) => assert_eq!(row.size, width, "{name}"),
            None => assert_eq!(registry.enum_bytes(name), Some(width), "{name}"),
        }
        if let Some(row) = registry.enums.iter().find(|row| row.name == name) {
            for reserved in &row.reserved {
                assert!(row.values.iter().all(|value| value.value != reserved.value), "{name}");
            }
        }
    }
}

#[test]
fn errors_have_the_registry_s_scope_and_consequences() {
    let registry = Registry::load();
    for row in &registry.error {
        let code = ErrorCode(row.code);
        assert_eq!(code.scope().name(), Some(row.scope.as_str()), "{code}");
        assert_eq!(code.is_retryable(), row.retryable, "{code}");
        assert_eq!(code.allows_resume(), row.resume_allowed, "{code}");
    }
}

#[test]
fn bounds_are_the_registry_s() {
    let registry = Registry::load();
    let theirs: BTreeMap<_, _> = registry.bound.iter().map(|row| (row.name.as_str(), row.value)).collect();
    macro_rules! bounds {
        ($($constant:ident),+) => {
            BTreeMap::from([$((stringify!($constant), u64::try_from(limits::$constant).unwrap())),+])
        };
    }
    let ours = bounds!(
        RECEIVE_FRAME_BYTES_MAX,
        PRE_AUTH_FRAME_BYTES_MAX,
        FRAME_BYTES_DEFAULT,
        FRAME_BYTES_MIN,
        BODY_OVERHEAD_BYTES,
        BODY_BYTES_MAX,
        ACCOUNT_NAME_BYTES_MIN,
        ACCOUNT_NAME_BYTES_MAX,
        ROOM_NAME_BYTES_MAX,
        PASSWORD_BYTES_MAX,
        PASSWORD_BYTES_MIN,
        TOKEN_BYTES_MAX,
        DISPLAY_NAME_BYTES_MAX,
        DEVICE_LABEL_BYTES_MAX,
        AGENT_BYTES_MAX,
        TOPIC_BYTES_MAX,
        REASON_BYTES_MAX,
        ERROR_TEXT_BYTES_MAX,
        ADDRESS_BYTES_MAX,
        ADDRESSES_MAX,
        PING_BYTES_MAX,
        CAPABILITIES_MAX,
        LIMITS_MAX,
        AUTH_METHODS_MAX,
        SUBSCRIBE_ROOMS_MAX,
        LIST_PAGE_MAX
    );
    assert_eq!(ours, theirs);
    let source = include_str!("../../src/limits.rs");
    let declared: BTreeSet<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(':').map(|(name, _)| name))
        .collect();
    assert_eq!(declared, theirs.keys().copied().collect(), "a constant is not in this test's list");
}

#[test]
fn limits_have_room_for_their_defaults_and_fit_each_other() {
    let registry = Registry::load();
    let limit = |name: &str| registry.limit.iter().find(|row| row.name == name).expect("a limit");
    let bound = |name: &str| registry.bound(name) as u64;
    for row in &registry.limit {
        assert!(row.min <= row.max, "{}", row.name);
        assert!(row.default.is_none_or(|value| (row.min..=row.max).contains(&value)), "{}", row.name);
    }
    let frame = limit("frame_bytes_max");
    assert_eq!(frame.default, Some(bound("FRAME_BYTES_DEFAULT")));
    assert_eq!((frame.min, frame.max), (bound("FRAME_BYTES_MIN"), bound("RECEIVE_FRAME_BYTES_MAX")));
    let body = limit("body_bytes_max");
    let overhead = bound("BODY_OVERHEAD_BYTES");
    assert_eq!((body.min, body.max), (frame.min - overhead, frame.max - overhead));
    assert_eq!(body.max, bound("BODY_BYTES_MAX"));
    assert_eq!(limit("ping_bytes_max").default, Some(bound("PING_BYTES_MAX")));
    assert_eq!(limit("subscribe_rooms_max").default, Some(bound("SUBSCRIBE_ROOMS_MAX")));
}

#[test]
fn every_type_code_is_assigned_reserved_or_private_and_only_one_of_them() {
    let registry = Registry::load();
    let ranges = || registry.reserved.iter().chain(&registry.private);
    for code in 0..0x8000_u16 {
        let assigned = registry.frame.iter().filter(|row| row.code & 0x7fff == code).count();
        let kept = ranges().filter(|range| (range.first..=range.last).contains(&code)).count();
        assert_eq!(assigned + kept, 1, "{code:#06x}");
        let private = registry.private.iter().any(|range| (range.first..=range.last).contains(&code));
        assert_eq!(FrameType(code).is_private(), private, "{code:#06x}");
    }
    assert!(registry.extensions.assigned.is_empty(), "version 1 assigns no extension tags");
}

#[test]
fn every_layout_that_a_field_names_is_found_in_the_registry_and_bounded() {
    let registry = Registry::load();
    let groups = (registry.frame.iter().map(|row| (&row.name, &row.fields)))
        .chain(registry.record.iter().map(|row| (&row.name, &row.fields)))
        .chain(registry.body.iter().map(|row| (&row.kind, &row.fields)));
    // Whoever generates a codec has the registry and nothing else: each name has one row, and each row a width.
    let rows = |name: &str| {
        registry.layout.iter().filter(|row| row.name == name).count()
            + registry.enums.iter().filter(|row| row.name == name).count()
            + registry.record.iter().filter(|row| row.name == name).count()
    };
    let is_known = |name: &str| rows(name) == 1;
    for row in &registry.layout {
        assert!(row.bytes.is_some() != row.prefix.is_some(), "{}: a width or a prefix", row.name);
    }
    for row in &registry.enums {
        assert!(registry.enum_bytes(&row.name).is_some(), "{}: {} is no integer", row.name, row.layout);
    }
    for (group, field) in groups.flat_map(|(group, fields)| fields.iter().map(move |field| (group, field))) {
        assert!(is_known(&field.layout), "{group}.{}: {}", field.name, field.layout);
        let form = registry.layout.iter().find(|row| row.name == field.layout).map(|row| row.form);
        let is_bounded = matches!(form, Some(Form::Line | Form::Secret | Form::Bytes | Form::List));
        assert_eq!(is_bounded, field.max.is_some(), "{group}.{}: max", field.name);
        assert_eq!(form == Some(Form::List), field.of.is_some(), "{group}.{}: of", field.name);
        for name in field.max.iter().chain(&field.of_max) {
            assert!(registry.bound(name) > 0, "{group}.{}", field.name);
        }
        assert!(field.of.as_deref().is_none_or(is_known), "{group}.{}: of", field.name);
    }
}
