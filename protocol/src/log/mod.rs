//! Frames of a room's log: adding to it, following it, reading it.

mod ack;
mod event;
mod history;
mod publish;
mod subscribe;

pub use ack::{Ack, Gap, GapReason, Head, Replayed};
pub use event::Event;
pub use history::{Direction, Frames, History, Page};
pub use publish::{Durability, Publish, Published};
pub use subscribe::{
    EndReason, From, Level, Subscribe, SubscribeItem, Subscribed, SubscriptionEnded, SubscriptionMode,
    Unsubscribe, Verdict, VerdictItem,
};
