//! A room that is yet to be made.

use hark_protocol::{HistoryPolicy, Visibility};

/// A room that is yet to be made. Public, with all of its history readable and no topic, unless told otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoom {
    /// Its name: 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// Who can see and join it.
    pub visibility: Visibility,
    /// How far back a member may read.
    pub history: HistoryPolicy,
    /// What it is about; one line of at most 512 bytes, may be empty.
    pub topic: String,
}

impl NewRoom {
    /// A public room of this name.
    pub fn public(name: impl Into<String>) -> NewRoom {
        NewRoom {
            name: name.into(),
            visibility: Visibility::PUBLIC,
            history: HistoryPolicy::ALL,
            topic: String::new(),
        }
    }

    /// A room of this name for whoever is invited.
    pub fn private(name: impl Into<String>) -> NewRoom {
        NewRoom { visibility: Visibility::PRIVATE, ..NewRoom::public(name) }
    }

    /// With this topic.
    #[must_use]
    pub fn topic(self, topic: impl Into<String>) -> NewRoom {
        NewRoom { topic: topic.into(), ..self }
    }

    /// With this history policy.
    #[must_use]
    pub fn history(self, history: HistoryPolicy) -> NewRoom {
        NewRoom { history, ..self }
    }
}
