//! `relay`: the bus of an edge. Which link wants which channel, what each channel's stream holds, who is present; or, where edges
//! share a bus, how this one follows it.
//!
//! Bytes' meanings and time come in, frames for links come out. Never opens a socket, reads a clock or draws a random
//! number of its own; every table and queue has a bound in [`Limits`].
#![forbid(unsafe_code)]

pub mod bus;
pub mod mesh;
pub mod partition;
pub mod payload;

mod backoff;
mod breaker;
mod broker;
mod channels;
mod counters;
mod follow;
mod gap;
mod limits;
mod order;
mod outbound;
mod presence;
mod remote;
mod results;
pub mod store;
mod stream;
mod survey;
mod users;

pub use backoff::Backoff;
pub use breaker::{Breaker, Pass, Standing};
pub use broker::{Broker, Event, Move, Moved, Name};
pub use counters::{Counters, Levels};
pub use follow::Following;
pub use gap::{Gap, Gaps, Marked};
pub use limits::{Limits, RESULT_TTL};
pub use outbound::Transmit;
pub use presence::{Appearance, Entered, Members};
pub use stream::{Epoch, Epochs, Kept, Stream};
pub use users::{Session, Users};

/// One link to one shard of a gateway. The shell numbers them and never uses a number again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u32);
