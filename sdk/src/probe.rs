//! Short conversations that end by themselves: looking at a server, and registering an account.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hark_protocol::limits::{AGENT_BYTES_MAX, FRAME_BYTES_DEFAULT};
use hark_protocol::{
    AccountName, BadText, Close, Correlation, Disposition, EncodedFrame, ErrorCode, Frame, Hello, Line, List,
    RawFrame, Register, Secret, VERSION, Welcome,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::address::Address;
use crate::dial::Dialer;
use crate::error::{ConnectError, ConnectErrorKind, Error, Refusal, RegisterError, RegisterErrorKind};
use crate::status::ServerInfo;
use crate::tls::{self, Fingerprint, TlsProblem, Trust};
use crate::transport::Connector;

/// What a look at a server showed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Probe {
    /// The fingerprint of its certificate, to compare with what the server's operator reads out.
    pub fingerprint: Fingerprint,
    /// Whether the builder's trust accepts the certificate.
    pub issuer_known: bool,
    /// Which check fails under the builder's trust, if one does.
    pub problem: Option<TlsProblem>,
    /// What the server says about itself. Nothing vouches for it.
    pub server: ServerInfo,
}

/// See [`ClientBuilder::probe`](crate::ClientBuilder::probe).
pub(crate) async fn probe<C: Connector>(
    connector: Arc<C>,
    address: Address,
    server_name: ServerName<'static>,
    trust: &Trust,
    agent: Line<AGENT_BYTES_MAX>,
    patience: Duration,
) -> Result<Probe, ConnectError> {
    let verifier = tls::probe_verifier(trust);
    let config = tls::client_config(verifier.clone())
        .map_err(|error| Error::with(ConnectErrorKind::Address, error))?;
    let dialer = Dialer::new(connector, address, server_name, config);
    let conversation = async {
        let mut talk = Talk { stream: dialer.dial(None).await?, input: BytesMut::new() };
        let welcome = talk.greet(agent).await?;
        talk.leave().await;
        Ok::<_, ConnectError>(welcome)
    };
    let welcome =
        timeout(patience, conversation).await.unwrap_or_else(|_| Err(ConnectErrorKind::Timeout.into()))?;
    let seen = verifier.seen().ok_or(ConnectErrorKind::Protocol)?;
    Ok(Probe {
        fingerprint: seen.fingerprint,
        issuer_known: seen.verdict.is_ok(),
        problem: seen.verdict.err(),
        server: ServerInfo::new(&welcome),
    })
}

/// Checks what a registration says, before anything is dialled.
pub(crate) fn registration(
    token: &str,
    name: &str,
    password: &str,
    display_name: &str,
) -> Result<Register, RegisterError> {
    let invalid =
        |what: &str, error: BadText| Error::with(RegisterErrorKind::Invalid, format!("{what}: {error}"));
    Ok(Register {
        token: Secret::parse(token).map_err(|error| invalid("the token", error))?,
        name: AccountName::parse(name).map_err(|error| invalid("the name", error))?,
        password: Secret::parse(password).map_err(|error| invalid("the password", error))?,
        display_name: Line::parse(display_name).map_err(|error| invalid("the display name", error))?,
    })
}

/// See [`ClientBuilder::register`](crate::ClientBuilder::register).
pub(crate) async fn register<C: Connector>(
    dialer: &Dialer<C>,
    register: Register,
    agent: Line<AGENT_BYTES_MAX>,
    patience: Duration,
) -> Result<(), RegisterError> {
    let opening = async {
        let mut talk = Talk { stream: dialer.dial(None).await?, input: BytesMut::new() };
        let welcome = talk.greet(agent).await?;
        Ok::<_, ConnectError>((talk, welcome))
    };
    let opened = timeout(patience, opening).await.unwrap_or_else(|_| Err(ConnectErrorKind::Timeout.into()));
    let (mut talk, welcome) = opened.map_err(RegisterError::from)?;
    if !welcome.registration {
        talk.leave().await;
        return Err(RegisterErrorKind::NotAllowed.into());
    }
    let asking = async {
        talk.send(ASKED, &register).await?;
        talk.receive().await
    };
    let answer = timeout(patience, asking).await.ok().and_then(Result::ok);
    talk.leave().await;
    match answer {
        Some(Frame::Ok(_)) => Ok(()),
        Some(Frame::Error(error)) => Err(refused(&error).into()),
        _ => Err(RegisterErrorKind::Unknown.into()),
    }
}

fn refused(error: &hark_protocol::Error) -> RegisterErrorKind {
    match error.code {
        ErrorCode::NAME_TAKEN => RegisterErrorKind::NameTaken,
        ErrorCode::AUTH_FAILED => RegisterErrorKind::TokenRefused,
        _ => RegisterErrorKind::Refused(Refusal::new(error)),
    }
}

/// What an ERROR means to somebody who wants to connect.
pub(crate) fn connect_kind(error: &hark_protocol::Error) -> ConnectErrorKind {
    let refusal = Refusal::new(error);
    match error.code {
        ErrorCode::BUSY | ErrorCode::SHUTTING_DOWN => {
            ConnectErrorKind::Busy { retry_after: refusal.retry_after }
        }
        ErrorCode::VERSION_UNSUPPORTED => ConnectErrorKind::Version,
        ErrorCode::AUTH_FAILED => ConnectErrorKind::AuthFailed,
        ErrorCode::ACCOUNT_DISABLED => ConnectErrorKind::Disabled,
        ErrorCode::LIMIT | ErrorCode::RATE => ConnectErrorKind::Limit(refusal),
        _ => ConnectErrorKind::Refusal(refusal),
    }
}

/// The first frame of every conversation.
pub(crate) fn hello(agent: Line<AGENT_BYTES_MAX>) -> Hello {
    use hark_protocol::Capability;
    Hello {
        version_min: VERSION,
        version_max: VERSION,
        capabilities: List::truncated(vec![Capability::PRESENCE, Capability::SIGNALS]),
        connection_window: 0,
        agent,
    }
}

/// The one request of a short conversation.
const ASKED: Correlation = Correlation(2);

/// A conversation in straight lines.
struct Talk<S> {
    stream: S,
    input: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    async fn greet(&mut self, agent: Line<AGENT_BYTES_MAX>) -> Result<Welcome, ConnectError> {
        self.send(Correlation(1), &hello(agent)).await?;
        match self.receive().await? {
            Frame::Welcome(welcome) if welcome.version == VERSION => Ok(welcome),
            Frame::Welcome(_) => Err(ConnectErrorKind::Version.into()),
            Frame::Error(error) => Err(Error::with(connect_kind(&error), error.text.as_str().to_owned())),
            _ => Err(ConnectErrorKind::Protocol.into()),
        }
    }

    async fn send<P: hark_protocol::Payload>(
        &mut self,
        correlation: Correlation,
        payload: &P,
    ) -> Result<(), ConnectError> {
        let sealed = EncodedFrame::new(correlation, payload);
        let written = async {
            self.stream.write_all(sealed.as_slice()).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| Error::with(ConnectErrorKind::Closed, error))
    }

    /// The next frame that this version knows.
    async fn receive(&mut self) -> Result<Frame, ConnectError> {
        loop {
            match RawFrame::take(&mut self.input, FRAME_BYTES_DEFAULT) {
                Ok(Some(raw)) => match Frame::decode(&raw) {
                    Ok(frame) => return Ok(frame),
                    Err(_) if raw.header().frame_type.is_ignorable() => {}
                    Err(error) => return Err(Error::with(ConnectErrorKind::Protocol, error)),
                },
                Ok(None) => {
                    let read = self.stream.read_buf(&mut self.input).await;
                    if read.map_err(|error| Error::with(ConnectErrorKind::Closed, error))? == 0 {
                        return Err(ConnectErrorKind::Closed.into());
                    }
                }
                Err(error @ hark_protocol::FrameError::Magic(_)) => {
                    return Err(Error::with(ConnectErrorKind::NotHark, error));
                }
                Err(error) => return Err(Error::with(ConnectErrorKind::Protocol, error)),
            }
        }
    }

    /// Takes leave, as far as the peer still listens.
    async fn leave(&mut self) {
        let close = Close { code: ErrorCode(0), disposition: Disposition::END, text: Line::default() };
        let farewell = async {
            let _ = self.send(Correlation::NONE, &close).await;
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// How long a farewell may take: it is only polite.
const FAREWELL: Duration = Duration::from_secs(1);
