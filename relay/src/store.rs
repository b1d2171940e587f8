//! What the broker of an edge asks of the nodes that store the channels of some namespaces. What they answer comes back as if the bus had
//! said it ([`crate::bus::Tell`]); what they store comes by way of the bus.
//!
//! Owns these words; never how they are carried.

use std::sync::Arc;

use crate::bus::Ticket;
use crate::stream::Epoch;

/// What the broker wants done. Nothing here waits for an answer to something before it, save publications of one user in one
/// channel: those are stored in this order. Each question is answered once, as those of [`crate::bus::Ask`] are.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// Store a message of a client and have it delivered. Answer: `Published`.
    Publish {
        /// Of this question.
        ticket: Ticket,
        /// The channel.
        channel: Arc<str>,
        /// Who; never empty.
        user: Box<str>,
        /// The message, as the client wrote it.
        data: Vec<u8>,
        /// Idempotency key; empty when none.
        key: Box<str>,
    },
    /// Read the stream. Answer: `Page`.
    Read {
        /// Of this question.
        ticket: Ticket,
        /// The channel.
        channel: Arc<str>,
        /// See [`crate::bus::Ask::Read`].
        since: Option<u64>,
        /// Publications at most; 0 asks for the position only.
        limit: usize,
        /// Newest first.
        reverse: bool,
    },
    /// Begin the stream anew, unless its epoch is no longer this one. No answer.
    Renew {
        /// The channel.
        channel: Arc<str>,
        /// The epoch that has forked.
        epoch: Epoch,
    },
}
