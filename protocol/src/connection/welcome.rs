//! WELCOME: the server's answer to HELLO.

use crate::connection::AuthMethod;
use crate::limits::{AGENT_BYTES_MAX, AUTH_METHODS_MAX, CAPABILITIES_MAX, LIMITS_MAX, Limit, LimitId};
use crate::wire::payload;
use crate::{Capability, Line, List};

payload! {
    /// The server's answer to HELLO, in a layout that is frozen for every version.
    pub struct Welcome: WELCOME {
        /// The highest version that both sides speak; everything that follows is in it.
        pub version: u8,
        /// What both sides can do beyond the core.
        pub capabilities: List<Capability, CAPABILITIES_MAX>,
        /// Every limit that the server enforces.
        pub limits: List<Limit, LIMITS_MAX>,
        /// How one may log in.
        pub auth_methods: List<AuthMethod, AUTH_METHODS_MAX>,
        /// Whether REGISTER is allowed.
        pub registration: bool,
        /// The server's name and version.
        pub agent: Line<AGENT_BYTES_MAX>,
    }
}

impl Welcome {
    /// What the server set a limit to, if it advertised it.
    pub fn limit(&self, id: LimitId) -> Option<u64> {
        self.limits.iter().find(|limit| limit.id == id).map(|limit| limit.value)
    }
}
