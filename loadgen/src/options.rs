//! The command line as typed. Turned into a checked [`Plan`](crate::plan::Plan) before anything happens.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::limits::OPENING_TIMEOUT_S_DEFAULT;

/// Opens and holds connections against anything that speaks the client protocol, and says what broke first.
///
/// Exit codes: 0 everything as asked; 1 connections failed or something was not delivered; 2 an option or the machine is
/// not fit for the run; 3 the load generator was itself the bottleneck, so figures were withheld.
#[derive(Debug, Parser)]
#[command(name = "headland-loadgen", version)]
pub struct Args {
    /// What to do with the connections.
    #[command(subcommand)]
    pub mode: ModeArgs,
}

/// The modes.
#[derive(Debug, Subcommand)]
pub enum ModeArgs {
    /// Open connections, hold them, answer pings; optionally check that each receives a publication at the end.
    Idle(IdleArgs),
    /// Publish to many subscribers of one channel, so many publications in flight.
    Fanout(FanoutArgs),
    /// Send commands and wait for their replies.
    Rpc(RpcArgs),
    /// Connect, complete the handshake, reset, again.
    Handshake(HandshakeArgs),
}

/// What every mode takes.
#[derive(Debug, Clone, clap::Args)]
pub struct CommonArgs {
    /// ws://HOST:PORT/PATH or wss://HOST:PORT/PATH.
    #[arg(long)]
    pub url: String,
    /// One token for all connections.
    #[arg(long, env = "HEADLAND_TOKEN", hide_env_values = true, conflicts_with_all = ["token_hmac_secret", "anonymous"])]
    pub token: Option<String>,
    /// Sign a token per connection (HS256) with the server's secret.
    #[arg(long, env = "HEADLAND_TOKEN_HMAC_SECRET", hide_env_values = true, conflicts_with = "anonymous")]
    pub token_hmac_secret: Option<String>,
    /// Users of signed tokens; {n} is the connection's number, {n%M} its remainder.
    #[arg(long, default_value = "user-{n}")]
    pub user: String,
    /// Connect without a token (the default when none is given).
    #[arg(long)]
    pub anonymous: bool,
    /// Certificates (PEM) to trust instead of the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Trust any certificate.
    #[arg(long)]
    pub insecure: bool,
    /// Name that the certificate must have, and SNI; by default the host of --url.
    #[arg(long)]
    pub server_name: Option<String>,
    /// Origin field of the upgrade, to look like a page.
    #[arg(long)]
    pub origin: Option<String>,
    /// Offer permessage-deflate, without context takeover.
    #[arg(long)]
    pub deflate: bool,
    /// Speak Protobuf (subprotocol centrifuge-protobuf) rather than JSON.
    #[arg(long)]
    pub protobuf: bool,
    /// Addresses to connect from: A,B or FIRST-LAST or NETWORK/BITS. A loopback target gets enough of 127.1.0.0/16 by itself.
    #[arg(long)]
    pub sources: Option<String>,
    /// Threads, each with a file table of its own; more are used when the descriptor limit asks for them.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Connections being opened at once, per thread; by default 256, and 32 in the handshake mode.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub opening: Option<u32>,
    /// Seconds a connection may take to become usable.
    #[arg(long, default_value_t = OPENING_TIMEOUT_S_DEFAULT)]
    pub timeout: f64,
    /// Processes of the server on this machine, whose CPU time and memory are measured.
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub server_pid: Vec<u32>,
    /// Milliseconds a thread sleeps before it waits for more: its wake-ups are the server's work on a shared machine, and a
    /// nap gathers them. Adds up to as much to each latency. By default 2 in a fan-out without a rate, otherwise 0.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub nap_ms: Option<u64>,
    /// Write the report as JSON to FILE, or to standard output with -.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Report figures even when the load generator was the bottleneck.
    #[arg(long)]
    pub force: bool,
}

/// Options of `idle`.
#[derive(Debug, Clone, clap::Args)]
pub struct IdleArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "described where it is declared")]
    pub common: CommonArgs,
    /// Connections to hold.
    #[arg(long, short = 'n')]
    pub connections: u32,
    /// Connections opened per second; 0 is as fast as they come.
    #[arg(long, alias = "ramp", default_value_t = 0.0)]
    pub rate: f64,
    /// Channel that each subscribes to; {n} is the connection's number, {n%1000} its remainder.
    #[arg(long, value_name = "CHANNEL")]
    pub subscribe: Option<String>,
    /// Come back to the channel, each from this offset, and count who gets everything that was published since.
    #[arg(long, value_name = "OFFSET", requires = "subscribe")]
    pub recover_from: Option<u64>,
    /// How long to hold them.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// At the end, publish once to every channel and check that every connection receives it.
    #[arg(long, requires = "subscribe")]
    pub final_broadcast: bool,
    /// Seconds to wait for the final broadcast to reach all.
    #[arg(long, default_value_t = 60.0)]
    pub patience: f64,
    /// Pause at these numbers of connections and note the server's memory (needs --server-pid): gives bytes per connection as a slope.
    #[arg(long, value_delimiter = ',', value_name = "N", requires = "server_pid")]
    pub steps: Vec<u32>,
    /// Length of such a pause.
    #[arg(long, default_value_t = 3.0)]
    pub settle: f64,
}

/// Options of `fanout`.
#[derive(Debug, Clone, clap::Args)]
pub struct FanoutArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "described where it is declared")]
    pub common: CommonArgs,
    /// Subscribers.
    #[arg(long, short = 'n', alias = "subscribers", default_value_t = 2000)]
    pub connections: u32,
    /// The channel of all of them.
    #[arg(long, default_value = "fanout")]
    pub channel: String,
    /// Publications in flight; one is in flight until every subscriber has it.
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
    /// Bytes of each publication's data.
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// How long to measure, after a second of warming up.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Stop after this many publications.
    #[arg(long)]
    pub count: Option<u64>,
    /// Publications per second, at most --in-flight of them unfinished; without it as fast as they are finished.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Connections opened per second; 0 is as fast as they come.
    #[arg(long, default_value_t = 0.0)]
    pub ramp: f64,
}

/// Which command `rpc` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CommandKind {
    /// Calls --method of the backend; an error reply (108 without a backend) is an answer.
    Rpc,
    /// Publishes --payload bytes to --channel.
    Publish,
    /// Reads the last publication of --channel.
    History,
    /// Asks who is in --channel.
    Presence,
}

/// Options of `rpc`.
#[derive(Debug, Clone, clap::Args)]
pub struct RpcArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "described where it is declared")]
    pub common: CommonArgs,
    /// Connections.
    #[arg(long, short = 'n', default_value_t = 100)]
    pub connections: u32,
    /// Commands in flight per connection.
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
    /// The command.
    #[arg(long, value_enum, default_value_t = CommandKind::Rpc)]
    pub command: CommandKind,
    /// Method of `rpc`.
    #[arg(long, default_value = "echo")]
    pub method: String,
    /// Channel of the other commands; {n} is the connection's number. Each connection subscribes to its own first.
    #[arg(long, default_value = "rpc-{n}")]
    pub channel: String,
    /// Bytes of each command's data.
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// How long to measure, after a second of warming up.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Connections opened per second; 0 is as fast as they come.
    #[arg(long, default_value_t = 0.0)]
    pub ramp: f64,
}

/// Options of `handshake`.
#[derive(Debug, Clone, clap::Args)]
pub struct HandshakeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "described where it is declared")]
    pub common: CommonArgs,
    /// Handshakes per second; 0 is as fast as --opening of them at once per thread allow.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// How long to measure, after a second of warming up.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Go on to the WebSocket upgrade before the reset.
    #[arg(long)]
    pub upgrade: bool,
}
