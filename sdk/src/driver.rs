//! The one task that owns a connection.

use crate::client::Client;
use crate::dial::Dialer;
use crate::entropy::Ids;
use crate::error::{ConnectError, ConnectErrorKind};
use crate::session::Config;
use crate::transport::Connector;

/// Connects, logs in and keeps the connection.
pub(crate) async fn start<C: Connector>(
    dialer: Dialer<C>,
    config: Config,
    ids: Ids,
) -> Result<Client, ConnectError> {
    let _ = (dialer.dial().await?, config, ids);
    Err(ConnectErrorKind::Closed.into())
}
