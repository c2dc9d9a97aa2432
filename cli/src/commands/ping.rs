//! `hark ping`: how far away the server is.

use serde::Serialize;

use crate::commands::with_client;
use crate::context::Context;
use crate::exit::Done;
use crate::output::Output;

#[derive(Debug, Serialize)]
struct PingJson {
    server: String,
    rtt_us: u64,
}

/// Measures one PING and its PONG on a connection that is logged in.
pub(crate) async fn run(context: Context, output: &mut Output) -> Done {
    let server = context.server()?.to_string();
    let took = with_client(context, async |client| Ok(client.ping().await?)).await?;
    let rtt_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let line = format!("{:.3} ms", took.as_secs_f64() * 1000.0);
    output.result(&PingJson { server, rtt_us }, line)
}
