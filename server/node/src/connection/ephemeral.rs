//! SIGNAL and PRESENCE_SET: what is told to others and remembered by nobody.

use std::sync::Arc;

use hark_core::{CloseReason, Refusal};
use hark_protocol::{
    Correlation, EncodedFrame, Frame, Ok as Done, PresenceSet, PresenceState, Signal, Signalled,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use super::login::is_visible;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Tells a room's followers what the peer is doing. Without effect where the peer is not a member, or the
    /// room is not in memory because nobody follows it.
    pub(super) fn signal(&self, signal: &Signal) {
        let Some(identity) = &self.identity else { return };
        let Some(entry) = self.hub.loaded_room(signal.room) else { return };
        if !signal.kind.is_known() || entry.look(|room| room.member(identity.account).is_none()) {
            return;
        }
        let signalled = Signalled {
            room: signal.room,
            account: identity.account,
            name: identity.name.clone(),
            kind: signal.kind,
        };
        let frame = EncodedFrame::new(Correlation::NONE, &signalled);
        entry.whisper(&frame, |one| one.takes_signals && !Arc::ptr_eq(&one.link, &self.link));
    }

    /// Notes whether somebody is at the other end. A connection that does not count says nothing.
    pub(super) fn set_presence(
        &mut self,
        correlation: Correlation,
        set: PresenceSet,
    ) -> Result<(), CloseReason> {
        if !matches!(set.state, PresenceState::ONLINE | PresenceState::AWAY) {
            let refusal = match set.state.is_known() {
                true => Refusal::Malformed("say online or away"),
                false => Refusal::Unsupported("this presence state is unknown"),
            };
            return self.refuse_request(correlation, &refusal);
        }
        if let Some(identity) = self.identity.as_ref().filter(|identity| is_visible(identity)) {
            self.hub.presences.set((identity.account, &identity.name), self.id, set.state);
        }
        self.session.answer(correlation, &Frame::Ok(Done {}), self.io.out());
        Ok(())
    }
}
