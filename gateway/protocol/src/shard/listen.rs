//! WebSockets that only listen: one word from the client, its `connect` request, then pushes.
//!
//! Owns what such a client is told instead of replies.

use wire::code::{self, Close, ErrorCode};

use super::Shard;
use crate::{
    client::reply::{Push, Reply},
    connection::Phase,
    time::Now,
};

impl Shard {
    /// A message of a client that only listens: its `connect` request. What comes later means nothing.
    pub(super) fn listener_says(&mut self, now: Now, index: usize, request: &[u8]) {
        if self.connections[index].phase != Phase::Fresh {
            return;
        }
        let mut command = Vec::with_capacity(request.len() + 32);
        command.extend_from_slice(b"{\"id\":1,\"connect\":");
        // Line ends stand between tokens in JSON, and between commands here.
        command.extend(request.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        command.push(b'}');
        self.message_received(now, index, &command);
    }

    /// A reply, for a client that asks nothing: the session has begun, or cannot.
    pub(super) fn tell_listener(&mut self, now: Now, index: usize, reply: &Reply<'_>) {
        match reply {
            Reply::Error(error) => self.close(now, index, refusal(*error)),
            Reply::Refused(_) => self.close(now, index, code::INTERNAL_ERROR),
            Reply::Connect(_) => {
                let connection = &mut self.connections[index];
                let encoding = connection.encoding;
                let outbox = &mut connection.hot(&mut self.pool).outbox;
                // Without a command's number a reply looks like a push without its envelope.
                outbox.push_message(encoding, |out| encoding.reply(0, reply, out));
                self.mark_dirty(index);
            }
            _ => {}
        }
    }

    /// The push before the close frame, for clients whose library does not show them that frame.
    pub(super) fn push_disconnect(&mut self, index: usize, code: u16, reason: &str) {
        if self.options.rules.transports.without_disconnect_push {
            return;
        }
        let connection = &mut self.connections[index];
        let encoding = connection.encoding;
        let push = Push::Disconnect { code, reason };
        let outbox = &mut connection.hot(&mut self.pool).outbox;
        outbox.push_message(encoding, |out| encoding.push("", &push, out));
    }
}

/// The close that says what an error reply would.
fn refusal(error: ErrorCode) -> Close {
    if error == code::TOKEN_EXPIRED || error == code::EXPIRED {
        code::CONNECTION_EXPIRED
    } else {
        code::INTERNAL_ERROR
    }
}
