//! The server's metrics: facts are told by name, counted without locks, and exported for Prometheus.

mod label;
mod series;

use std::time::Duration;

use hark_core::Limits;
use hark_core::ports::Condition;
use hark_protocol::limits::{LIMITS_MAX, Limit};
use hark_protocol::{ErrorCode, FrameType, UnixMillis};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use label::{Label, LoginOutcome, PublishOutcome, RefusedBecause, ResumeOutcome};
use series::{ByCode, ByLabel, Labels, counter, gauge, gauges, histogram};

/// Everything that is counted. One for a node; cheap to tell, safe from every thread.
pub struct Metrics {
    registry: Registry,
    connections: Gauge,
    connections_accepted: Counter,
    connections_refused: ByLabel<RefusedBecause>,
    connections_panicked: Counter,
    frames_received: ByCode,
    frames_sent: ByCode,
    bytes_received: Counter,
    bytes_sent: Counter,
    publishes: ByLabel<PublishOutcome>,
    deliveries: Counter,
    subscriptions: Gauge,
    subscriptions_lagging: Gauge,
    rooms_loaded: Gauge,
    store: StoreSeries,
    errors_sent: ByCode,
    logins: ByLabel<LoginOutcome>,
    connections_suspect: Gauge,
    peers_suspected: Counter,
    peers_lost: Counter,
    resumes: ByLabel<ResumeOutcome>,
    sessions_connected: Gauge,
    sessions_replaced: Counter,
    registrations: Counter,
    password_hash_seconds: Histogram,
    certificate_expires: Gauge,
    certificate_reloads: Counter,
    certificate_reloads_failed: Counter,
    limits: Family<Labels, Gauge>,
}

impl Metrics {
    /// Metrics that all stand at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("hark");
        let r = &mut registry;
        let frame_types = || FrameType::KNOWN.iter().filter_map(|t| Some((t.0, t.name()?)));
        let error_codes = ErrorCode::KNOWN.iter().filter_map(|code| Some((code.0, code.name()?)));
        Metrics {
            connections: gauge(r, "connections", "Connections now"),
            connections_accepted: counter(r, "connections_accepted", "Connections accepted"),
            connections_refused: ByLabel::new(
                r,
                "connections_refused",
                "Connections that were not served",
                "reason",
            ),
            connections_panicked: counter(r, "connections_panicked", "Connections ended by a fault of ours"),
            frames_received: ByCode::new(r, "frames_received", "Frames received", "type", frame_types()),
            frames_sent: ByCode::new(r, "frames_sent", "Frames sent", "type", frame_types()),
            bytes_received: counter(r, "received_bytes", "Bytes of frames received"),
            bytes_sent: counter(r, "sent_bytes", "Bytes of frames sent"),
            publishes: ByLabel::new(r, "publishes", "What became of PUBLISHes", "outcome"),
            deliveries: counter(r, "deliveries", "Events sent to subscribers"),
            subscriptions: gauge(r, "subscriptions", "Subscriptions now"),
            subscriptions_lagging: gauge(
                r,
                "subscriptions_lagging",
                "Subscriptions that have events to get and no credit left",
            ),
            rooms_loaded: gauge(r, "rooms_loaded", "Rooms in memory"),
            store: StoreSeries::new(r),
            errors_sent: ByCode::new(r, "errors_sent", "ERRORs sent", "code", error_codes),
            logins: ByLabel::new(r, "logins", "What became of attempts to log in", "outcome"),
            connections_suspect: gauge(
                r,
                "connections_suspect",
                "Connections whose peers have been silent for two thirds of the time after which they are lost",
            ),
            peers_suspected: counter(r, "peers_suspected", "Peers that were suspected of being gone"),
            peers_lost: counter(r, "peers_lost", "Peers that were given up for their silence"),
            resumes: ByLabel::new(r, "resumes", "What became of attempts to take a session up", "outcome"),
            sessions_connected: gauge(r, "sessions_connected", "Sessions that have a connection"),
            sessions_replaced: counter(
                r,
                "sessions_replaced",
                "Connections that ended because another took their session up",
            ),
            registrations: counter(r, "registrations", "Accounts made by REGISTER"),
            password_hash_seconds: histogram(
                r,
                "password_hash_seconds",
                "Time of one password hash, without waiting",
                latencies(),
            ),
            certificate_expires: gauge(
                r,
                "certificate_expires_timestamp_seconds",
                "When the TLS certificate expires",
            ),
            certificate_reloads: counter(r, "certificate_reloads", "TLS certificates taken up while running"),
            certificate_reloads_failed: counter(
                r,
                "certificate_reloads_failed",
                "TLS certificates that could not be taken up while running",
            ),
            limits: gauges(r, "limit", "What each limit is set to"),
            registry,
        }
    }

    /// Everything, in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("invariant: writing into a String does not fail");
        out
    }

    /// A connection was accepted. Each is followed by one [`connection_closed`](Self::connection_closed).
    pub fn connection_accepted(&self) {
        self.connections_accepted.inc();
        self.connections.inc();
    }

    /// An accepted connection is gone.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// A connection was not served.
    pub fn connection_refused(&self, because: RefusedBecause) {
        self.connections_refused.of(because).inc();
    }

    /// A connection's task panicked.
    pub fn connection_panicked(&self) {
        self.connections_panicked.inc();
    }

    /// A whole frame of so many bytes, header included, was received.
    pub fn frame_received(&self, kind: FrameType, bytes: usize) {
        self.frames_received.of(kind.0).inc();
        self.bytes_received.inc_by(bytes as u64);
    }

    /// A frame was handed to the connection for writing.
    pub fn frame_sent(&self, kind: FrameType) {
        self.frames_sent.of(kind.0).inc();
    }

    /// So many frames of one type were handed to the connection for writing.
    pub fn frames_sent(&self, kind: FrameType, frames: usize) {
        self.frames_sent.of(kind.0).inc_by(frames as u64);
    }

    /// So many bytes of frames were written.
    pub fn bytes_written(&self, bytes: usize) {
        self.bytes_sent.inc_by(bytes as u64);
    }

    /// A PUBLISH was answered.
    pub fn publish_answered(&self, outcome: PublishOutcome) {
        self.publishes.of(outcome).inc();
    }

    /// So many events became durable together.
    pub fn committed(&self, events: usize, took: Duration) {
        self.store.commit_events.observe(events as f64);
        self.store.commit_seconds.observe(took.as_secs_f64());
    }

    /// A commit failed.
    pub fn commit_failed(&self) {
        self.store.commits_failed.inc();
    }

    /// So many EVENTs were sent to a subscriber.
    pub fn delivered(&self, events: usize) {
        self.deliveries.inc_by(events as u64);
    }

    /// A subscription began. Each is followed by one [`subscription_ended`](Self::subscription_ended).
    pub fn subscription_began(&self) {
        self.subscriptions.inc();
    }

    /// A subscription ended.
    pub fn subscription_ended(&self) {
        self.subscriptions.dec();
    }

    /// A connection had so many subscriptions with events to get and no credit left, and has so many now.
    pub fn lag_changed(&self, before: usize, now: usize) {
        self.subscriptions_lagging.inc_by(now as i64 - before as i64);
    }

    /// A room was loaded into memory. Each is followed by one [`room_unloaded`](Self::room_unloaded).
    pub fn room_loaded(&self) {
        self.rooms_loaded.inc();
    }

    /// A room left memory.
    pub fn room_unloaded(&self) {
        self.rooms_loaded.dec();
    }

    /// So many events can not be read any more, by retention.
    pub fn events_expired(&self, events: u64) {
        self.store.events_expired.inc_by(events);
    }

    /// So many expired events were removed.
    pub fn events_removed(&self, events: u64) {
        self.store.events_removed.inc_by(events);
    }

    /// What the store has found out about itself by now.
    pub fn store_condition(&self, condition: &Condition) {
        self.store.damaged_records.set(i64::try_from(condition.damaged_records).unwrap_or(i64::MAX));
        let known = self.store.epoch_changes.get();
        self.store.epoch_changes.inc_by(u64::from(condition.epoch_change.is_some()).saturating_sub(known));
    }

    /// An ERROR was sent.
    pub fn error_sent(&self, code: ErrorCode) {
        self.errors_sent.of(code.0).inc();
    }

    /// An AUTH was answered.
    pub fn login_answered(&self, outcome: LoginOutcome) {
        self.logins.of(outcome).inc();
    }

    /// A peer is suspected of being gone from now on, or is no longer: it has spoken, or its connection has ended.
    pub fn suspicion_changed(&self, is_suspect: bool) {
        match is_suspect {
            true => {
                self.peers_suspected.inc();
                self.connections_suspect.inc()
            }
            false => self.connections_suspect.dec(),
        };
    }

    /// A peer was given up for its silence.
    pub fn peer_lost(&self) {
        self.peers_lost.inc();
    }

    /// A RESUME was answered.
    pub fn resume_answered(&self, outcome: ResumeOutcome) {
        self.resumes.of(outcome).inc();
    }

    /// So many sessions have a connection now.
    pub fn sessions_connected(&self, sessions: usize) {
        self.sessions_connected.set(i64::try_from(sessions).unwrap_or(i64::MAX));
    }

    /// A connection's session was taken up by another one.
    pub fn session_replaced(&self) {
        self.sessions_replaced.inc();
    }

    /// An account registered itself.
    pub fn registered(&self) {
        self.registrations.inc();
    }

    /// A password was hashed.
    pub fn password_hashed(&self, took: Duration) {
        self.password_hash_seconds.observe(took.as_secs_f64());
    }

    /// A TLS certificate is in use from now on that expires then.
    pub fn certificate_taken_up(&self, expires: UnixMillis) {
        self.certificate_expires.set(i64::try_from(expires.0 / 1_000).unwrap_or(i64::MAX));
    }

    /// TLS certificates were looked at again while running.
    pub fn certificate_reloaded(&self, reload: Reload) {
        match reload {
            Reload::Done => self.certificate_reloads.inc(),
            Reload::Failed => self.certificate_reloads_failed.inc(),
        };
    }

    /// These limits are in force.
    pub fn limits_set(&self, limits: &Limits) {
        for Limit { id, value } in limits.advertised::<LIMITS_MAX>().iter() {
            if let Some(name) = id.name() {
                let gauge = self.limits.get_or_create_owned(&[("limit", name)]);
                gauge.set(i64::try_from(*value).unwrap_or(i64::MAX));
            }
        }
    }
}

/// What is counted of the store.
struct StoreSeries {
    commit_events: Histogram,
    commit_seconds: Histogram,
    commits_failed: Counter,
    events_expired: Counter,
    events_removed: Counter,
    damaged_records: Gauge,
    epoch_changes: Counter,
}

impl StoreSeries {
    fn new(r: &mut Registry) -> StoreSeries {
        StoreSeries {
            commit_events: histogram(r, "commit_events", "Events in one commit", commit_sizes()),
            commit_seconds: histogram(
                r,
                "commit_seconds",
                "Time of one commit, its sync included",
                latencies(),
            ),
            commits_failed: counter(r, "commits_failed", "Commits that failed"),
            events_expired: counter(
                r,
                "events_expired",
                "Events that can not be read any more because they were older or more than their room keeps",
            ),
            events_removed: counter(r, "events_removed", "Expired events that were removed from the disk"),
            damaged_records: gauge(
                r,
                "damaged_records",
                "Stored events that were wanted since the start and can not be trusted",
            ),
            epoch_changes: counter(
                r,
                "epoch_changes",
                "Times that every room was given a new epoch because the log is not the one that clients have seen",
            ),
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What became of taking up a new certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The new one is in use.
    Done,
    /// The old one is still in use.
    Failed,
}

/// 1, 2, 4, … 1,024 events.
fn commit_sizes() -> impl Iterator<Item = f64> {
    exponential_buckets(1.0, 2.0, 11)
}

/// 0.1 ms to 3.3 s, doubling.
fn latencies() -> impl Iterator<Item = f64> {
    exponential_buckets(0.000_1, 2.0, 16)
}

#[cfg(test)]
mod tests {
    use hark_core::ports::EpochChange;
    use hark_protocol::Epoch;

    use super::*;

    #[track_caller]
    fn check(metrics: &Metrics, line: &str) {
        let text = metrics.render();
        assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
    }

    #[test]
    fn every_frame_type_and_error_code_has_a_series_before_anything_happens() {
        let text = Metrics::new().render();
        for kind in FrameType::KNOWN {
            assert!(text.contains(&format!("hark_frames_received_total{{type=\"{kind}\"}} 0\n")), "{kind}");
        }
        for code in ErrorCode::KNOWN {
            assert!(text.contains(&format!("hark_errors_sent_total{{code=\"{code}\"}} 0\n")), "{code}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn facts_appear_under_their_names() {
        let metrics = Metrics::new();
        metrics.connection_accepted();
        metrics.connection_accepted();
        metrics.connection_closed();
        metrics.connection_refused(RefusedBecause::ConnectionsPerAddress);
        metrics.frame_received(FrameType::PING, 28);
        metrics.frame_received(FrameType(0x7abc), 20);
        metrics.publish_answered(PublishOutcome::Duplicate);
        metrics.login_answered(LoginOutcome::Failed);
        metrics.error_sent(ErrorCode::RATE);
        metrics.committed(3, Duration::from_millis(2));
        let change = EpochChange { epoch: Epoch(7), rooms: 3, reason: "behind" };
        for damaged_records in [1, 4] {
            metrics.store_condition(&Condition { damaged_records, epoch_change: Some(change) });
        }
        check(&metrics, "hark_damaged_records 4");
        check(&metrics, "hark_epoch_changes_total 1");
        check(&metrics, "hark_connections 1");
        check(&metrics, "hark_connections_accepted_total 2");
        check(&metrics, "hark_connections_refused_total{reason=\"connections_per_address\"} 1");
        check(&metrics, "hark_frames_received_total{type=\"PING\"} 1");
        check(&metrics, "hark_frames_received_total{type=\"other\"} 1");
        check(&metrics, "hark_received_bytes_total 48");
        check(&metrics, "hark_publishes_total{outcome=\"duplicate\"} 1");
        check(&metrics, "hark_logins_total{outcome=\"failed\"} 1");
        check(&metrics, "hark_errors_sent_total{code=\"RATE\"} 1");
        check(&metrics, "hark_commit_events_count 1");
        check(&metrics, "hark_commit_events_sum 3.0");
    }

    #[test]
    fn limits_are_exported() {
        let metrics = Metrics::new();
        metrics.limits_set(&Limits::public());
        check(&metrics, "hark_limit{limit=\"publish_rate_per_second\"} 20");
    }

    #[test]
    fn the_words_of_a_label_stand_at_their_index() {
        for (index, word) in RefusedBecause::ALL.iter().enumerate() {
            assert_eq!(word.index(), index);
        }
    }
}
