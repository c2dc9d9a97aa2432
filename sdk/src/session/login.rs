//! Becoming somebody: from the first attempt to AUTHENTICATED.

use std::time::Duration;

use hark_protocol::{Auth, Authenticated, EncodedFrame, ErrorCode, Resume, VERSION, Welcome};

use crate::credentials::Credentials;
use crate::error::{ConnectErrorKind, Refusal};
use crate::probe::connect_kind;
use crate::session::flow::Flow;
use crate::session::heartbeat::Heartbeat;
use crate::session::requests::Flight;
use crate::session::{Drain, Effect, Login, Moment, Session, State};
use crate::status::{AccountInfo, ClientEvent, Reason, ServerInfo};

impl Session {
    pub(super) fn dial(&mut self, now: Moment, out: &mut Vec<Effect>) {
        self.state = State::Connecting { deadline: now.saturating_add(self.config.connect_timeout) };
        out.push(Effect::Event(ClientEvent::Connecting));
        out.push(Effect::Dial { address: self.addresses.front().cloned().flatten() });
    }

    pub(super) fn on_welcome(
        &mut self,
        welcome: &Welcome,
        deadline: Moment,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        if welcome.version != VERSION {
            self.tell_and_close(ErrorCode::VERSION_UNSUPPORTED, out);
            return self.lose(Reason::Connect(ConnectErrorKind::Version), now, out);
        }
        self.requests.forget_handshake();
        self.flow = Flow::advertised(self.config.window, welcome);
        self.heartbeat = Heartbeat::advertised(welcome, now);
        self.server = Some(ServerInfo::new(welcome));
        self.auth_methods = welcome.auth_methods.to_vec();
        match self.config.session_token.clone() {
            Some(session_token) => {
                self.state = State::Authenticating { deadline, login: Login::Resume };
                let resume = Resume { session_token, presence: self.config.presence };
                let correlation = self.requests.open(Flight::Handshake);
                out.push(Effect::Send(EncodedFrame::new(correlation, &resume)));
            }
            None => self.authenticate(deadline, now, out),
        }
    }

    /// Logs in with the credentials, if there are any.
    fn authenticate(&mut self, deadline: Moment, now: Moment, out: &mut Vec<Effect>) {
        self.state = State::Authenticating { deadline, login: Login::Auth };
        let Some(credentials) = &self.config.credentials else {
            self.tell_and_close(ErrorCode(0), out);
            return self.lose(Reason::Connect(ConnectErrorKind::SessionExpired), now, out);
        };
        let (method, secret, device_label) = credentials.auth();
        if !self.auth_methods.contains(&method) {
            let text = format!("the server takes no login by {method}");
            let refusal = Refusal { text, ..Refusal::code(ErrorCode::UNSUPPORTED) };
            self.tell_and_close(ErrorCode(0), out);
            return self.lose(Reason::Connect(ConnectErrorKind::Refusal(refusal)), now, out);
        }
        let name = credentials.name().clone();
        let auth = Auth { method, name, secret, device_label, presence: self.config.presence };
        let correlation = self.requests.open(Flight::Handshake);
        out.push(Effect::Send(EncodedFrame::new(correlation, &auth)));
    }

    pub(super) fn on_authenticated(&mut self, answer: &Authenticated, now: Moment, out: &mut Vec<Effect>) {
        let Some(server) = self.server.clone() else { return };
        self.requests.forget_handshake();
        let token = (!answer.device_token.is_empty()).then(|| answer.device_token.clone());
        if let Some(token) = &token {
            // From now on by the device: the password again would make another one at every reconnect.
            let (name, token) = (answer.name.clone(), token.clone());
            self.config.credentials = Some(Credentials::DeviceToken { name, token });
        }
        let is_resumed = matches!(self.state, State::Authenticating { login: Login::Resume, .. });
        if !is_resumed || self.lost_resume != self.config.session_token {
            self.lost_resume = None; // its token takes nothing up any more
        }
        self.config.session_token = (!answer.session_token.is_empty()).then(|| answer.session_token.clone());
        (self.me, self.was_ready) = (answer.account, true);
        self.state = State::Ready { since: now, drain: Drain::No };
        self.heartbeat.begin(now);
        let session_token = self.config.session_token.clone();
        out.push(Effect::Ready { account: AccountInfo::new(answer), server, token, session_token });
        out.push(Effect::Event(ClientEvent::Connected));
    }

    pub(super) fn on_refused_login(
        &mut self,
        error: &hark_protocol::Error,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        if let State::Authenticating { deadline, login: Login::Resume } = self.state
            && is_no_session(error.code)
        {
            self.config.session_token = None;
            self.requests.forget_handshake();
            return self.authenticate(deadline, now, out);
        }
        self.not_before = now + Duration::from_millis(u64::from(error.retry_after_ms));
        let reason = match error.code {
            ErrorCode::SESSION_REPLACED => Reason::SessionReplaced,
            _ => Reason::Connect(connect_kind(error)),
        };
        self.lose(reason, now, out);
    }
}

/// Whether a refusal of RESUME says that there is nothing to be taken up: the session is no more, or the server has
/// none at all.
fn is_no_session(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::SESSION_EXPIRED | ErrorCode::UNKNOWN_TYPE | ErrorCode::UNSUPPORTED)
}
