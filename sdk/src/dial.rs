//! Opening a connection: a byte stream, and TLS with our ALPN on top of it.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::Address;
use crate::error::{ConnectError, ConnectErrorKind, Error};
use crate::tls::{ALPN, HandshakeFailure};
use crate::transport::Connector;

/// Opens connections to one server under one trust.
pub(crate) struct Dialer<C> {
    connector: Arc<C>,
    address: Address,
    server_name: ServerName<'static>,
    tls: TlsConnector,
}

impl<C: Connector> Dialer<C> {
    pub(crate) fn new(
        connector: Arc<C>,
        address: Address,
        server_name: ServerName<'static>,
        config: ClientConfig,
    ) -> Dialer<C> {
        Dialer { connector, address, server_name, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// One attempt, without a deadline of its own, at `elsewhere` if that is given: another address of the service,
    /// which must show a certificate for the same name.
    ///
    /// # Errors
    /// [`ConnectErrorKind`]: the network's, or the check of the handshake that failed.
    pub(crate) async fn dial(&self, elsewhere: Option<&str>) -> Result<TlsStream<C::Stream>, ConnectError> {
        let address = match elsewhere {
            Some(text) => text.parse().map_err(|error| Error::with(ConnectErrorKind::Address, error))?,
            None => self.address.clone(),
        };
        let stream = self.connector.connect(&address).await.map_err(|error| unreachable(&address, error))?;
        let expected = self.server_name.to_str().into_owned();
        let stream = match self.tls.connect(self.server_name.clone(), stream).await {
            Ok(stream) => stream,
            Err(error) => return Err(handshake_error(HandshakeFailure::from_io(error, &expected))),
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(ALPN) => Ok(stream),
            _ => Err(handshake_error(HandshakeFailure::NoCommonAlpn)),
        }
    }
}

fn unreachable(address: &Address, error: io::Error) -> ConnectError {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => ConnectErrorKind::Timeout,
        // What a resolver says of a name that is not there; its error kind is not one of its own.
        _ if error.raw_os_error().is_none() && error.to_string().contains("lookup") => {
            ConnectErrorKind::Address
        }
        _ => ConnectErrorKind::Refused,
    };
    Error::with(kind, format!("{address}: {error}"))
}

fn handshake_error(failure: HandshakeFailure) -> ConnectError {
    match failure {
        HandshakeFailure::Problem(problem) => ConnectErrorKind::Tls(problem).into(),
        HandshakeFailure::NoCommonAlpn => {
            Error::with(ConnectErrorKind::NotHark, "it speaks TLS, but not the application protocol hark/1")
        }
        HandshakeFailure::Io(error) => Error::with(ConnectErrorKind::Closed, error),
    }
}
