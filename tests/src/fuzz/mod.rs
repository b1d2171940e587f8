//! Bodies of the fuzz targets: each takes any bytes and panics when a promise about them is broken.
//!
//! Shared by the long runs (`tests/fuzz`, libFuzzer on nightly) and by the smoke test that runs with every other test. Names only
//! the pure crates, so that the long runs build little.

mod command;
mod hello;
mod link;
mod mutate;
mod protobuf;
mod publication;
mod tls;
mod token;
mod transports;
mod upgrade;
mod websocket;

pub use mutate::Mutator;

/// A target: its name (also that of its folders), what it does with bytes, and inputs that reach most of it.
pub struct Target {
    /// As in `cargo fuzz run NAME`.
    pub name: &'static str,
    /// Panics on a broken promise, never otherwise.
    pub run: fn(&[u8]),
    /// Where to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "upgrade", run: upgrade::run, seeds: upgrade::seeds },
    Target { name: "websocket_server", run: websocket::server, seeds: websocket::server_seeds },
    Target { name: "websocket_client", run: websocket::client, seeds: websocket::client_seeds },
    Target { name: "client_hello", run: hello::run, seeds: hello::seeds },
    Target { name: "tls_records", run: tls::run, seeds: tls::seeds },
    Target { name: "json", run: command::run, seeds: command::seeds },
    Target { name: "protobuf", run: protobuf::run, seeds: protobuf::seeds },
    Target { name: "publication", run: publication::run, seeds: publication::seeds },
    Target { name: "token", run: token::run, seeds: token::seeds },
    Target { name: "transports", run: transports::run, seeds: transports::seeds },
    Target { name: "link", run: link::run, seeds: link::seeds },
];

/// Runs one target by its name; the long runs call this.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("invariant: every fuzz target is in the table").run)(bytes);
}

/// Reads a script out of fuzz input: bytes that choose, and stretches of content.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// `None` at the end.
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// As many bytes as the next byte says, or what is left.
    fn stretch(&mut self) -> &'a [u8] {
        let wanted = self.byte().map_or(0, usize::from);
        let (stretch, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        stretch
    }
}
