//! Listening sockets, and what to say when one can not be had.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::failure::Failure;

/// Listens at `address`, which stands under `key` in the configuration.
pub(crate) fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    listen(address).map_err(|error| {
        let what = match error.kind() {
            ErrorKind::AddrInUse => "another program listens there already, perhaps another harkd; stop \
                 it, or choose another port"
                .to_owned(),
            ErrorKind::AddrNotAvailable => "this machine has no such address; 0.0.0.0 or [::] stands for \
                 all that it has"
                .to_owned(),
            ErrorKind::PermissionDenied => "this user may not listen there; ports below 1024 need a right \
                 of their own"
                .to_owned(),
            _ => error.to_string(),
        };
        let variable = key.to_uppercase();
        Failure::new(format!(
            "{key} = {address} can not be used: {what} ({key} in the configuration, or \
             HARKD_{variable})"
        ))
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a server can be started again at once, while old connections are still being forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connections that the system keeps for us: after a restart ten thousand clients come back within a second.
const BACKLOG: u32 = 4_096;
