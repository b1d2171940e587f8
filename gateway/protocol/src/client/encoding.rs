//! The encodings of the client protocol, as one value per connection. All that differs between them is behind this type.
//!
//! A *message* here is one command, reply or push as its encode function wrote it. A WebSocket message carries one or more of
//! them with [`Encoding::separator`] between (in Protobuf each brings its length along); its payload is never altered otherwise, so encoded messages can be shared.

use super::{
    command::{BadRequest, Command},
    json, protobuf,
    received::{Garbled, Received},
    reply::{Push, Reply},
};
use crate::ws::Opcode;

/// How one connection writes the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Encoding {
    /// One JSON document per line, in text messages.
    #[default]
    Json,
    /// Messages behind their lengths, in binary messages.
    Protobuf,
}

impl Encoding {
    /// Every encoding, for tables indexed by [`Encoding::index`].
    pub const ALL: [Self; 2] = [Self::Json, Self::Protobuf];

    /// Dense index, for "encoded once per encoding".
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The encoding of an offered WebSocket subprotocol.
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.subprotocol() == name)
    }

    /// What an upgrade request offers, and a response chooses, for this encoding. JSON is also what no offer means.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "centrifuge-json",
            Self::Protobuf => "centrifuge-protobuf",
        }
    }

    /// The kind of WebSocket message it is carried in.
    pub const fn frame_opcode(self) -> Opcode {
        match self {
            Self::Json => Opcode::Text,
            Self::Protobuf => Opcode::Binary,
        }
    }

    /// What stands between two messages in one WebSocket message; nothing before the first or after the last. At most
    /// [`super::limits::MESSAGES_IN_FRAME_MAX`] messages go into one.
    pub const fn separator(self) -> &'static [u8] {
        match self {
            Self::Json => b"\n",
            Self::Protobuf => b"",
        }
    }

    /// The server's ping and the client's pong, as a message.
    pub const fn ping(self) -> &'static [u8] {
        match self {
            Self::Json => b"{}",
            Self::Protobuf => &[0],
        }
    }

    /// The commands of one WebSocket message, in order. After an error there are no more.
    pub fn commands(self, message: &[u8]) -> Commands<'_> {
        match self {
            Self::Json => Commands(Reader::Json(json::Commands::new(message))),
            Self::Protobuf => Commands(Reader::Protobuf(protobuf::Commands::new(message))),
        }
    }

    /// Whether a payload arrives as the bytes that it is.
    pub fn carries(self, payload: &[u8]) -> bool {
        match self {
            Self::Json => json::is_json(payload),
            Self::Protobuf => true,
        }
    }

    /// Appends a reply.
    pub fn reply(self, id: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::reply(id, reply, out),
            Self::Protobuf => protobuf::reply(id, reply, out),
        }
    }

    /// Appends a push.
    pub fn push(self, channel: &str, push: &Push<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::push(channel, push, out),
            Self::Protobuf => protobuf::push(channel, push, out),
        }
    }

    /// Appends a push to a subscription whose channel has this number.
    pub fn push_by_number(self, number: u32, push: &Push<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::push_by_number(number, push, out),
            Self::Protobuf => protobuf::push_by_number(number, push, out),
        }
    }

    /// Appends a push that names its channel by number, or by name where that is 0.
    pub fn push_to(self, channel: &str, number: u32, push: &Push<'_>, out: &mut Vec<u8>) {
        match number {
            0 => self.push(channel, push, out),
            number => self.push_by_number(number, push, out),
        }
    }

    /// Appends a command (client side).
    pub fn command(self, command: &Command<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::command(command, out),
            Self::Protobuf => protobuf::command(command, out),
        }
    }

    /// What a server said in one WebSocket message, in order (client side). After an error there is no more.
    pub fn received(self, message: &[u8]) -> Messages<'_> {
        match self {
            Self::Json => Messages(Reader::Json(json::Messages::new(message))),
            Self::Protobuf => Messages(Reader::Protobuf(protobuf::Messages::new(message))),
        }
    }
}

/// One reader per encoding.
#[derive(Clone, Debug)]
enum Reader<J, P> {
    Json(J),
    Protobuf(P),
}

impl<T, J: Iterator<Item = T>, P: Iterator<Item = T>> Iterator for Reader<J, P> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Json(reader) => reader.next(),
            Self::Protobuf(reader) => reader.next(),
        }
    }
}

/// The commands of one WebSocket message.
#[derive(Clone, Debug)]
pub struct Commands<'a>(Reader<json::Commands<'a>, protobuf::Commands<'a>>);

impl<'a> Commands<'a> {
    /// What has not been read: a message of the commands still to come, or nothing but white space.
    pub fn rest(&self) -> &'a [u8] {
        match &self.0 {
            Reader::Json(commands) => commands.rest(),
            Reader::Protobuf(commands) => commands.rest(),
        }
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, BadRequest>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// A server's messages of one WebSocket message.
#[derive(Clone, Debug)]
pub struct Messages<'a>(Reader<json::Messages<'a>, protobuf::Messages<'a>>);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Received<'a>, Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{command::Request, limits::MESSAGES_IN_FRAME_MAX};

    #[test]
    fn an_encoding_is_known_by_its_subprotocol() {
        for (index, encoding) in Encoding::ALL.into_iter().enumerate() {
            assert_eq!(encoding.index(), index);
            assert_eq!(Encoding::of_subprotocol(encoding.subprotocol()), Some(encoding));
        }
        assert_eq!(Encoding::of_subprotocol("centrifuge-xml"), None);
        assert_eq!(Encoding::of_subprotocol(""), None);
    }

    #[test]
    fn messages_joined_by_the_separator_are_read_one_by_one() {
        for encoding in Encoding::ALL {
            let mut frame = Vec::new();
            for id in 1..=MESSAGES_IN_FRAME_MAX as u32 {
                if id > 1 {
                    frame.extend_from_slice(encoding.separator());
                }
                encoding.reply(id, &Reply::Publish, &mut frame);
            }
            frame.extend_from_slice(encoding.separator());
            frame.extend_from_slice(encoding.ping());
            let heard: Vec<_> = encoding.received(&frame).map(Result::unwrap).collect();
            assert_eq!(heard.len(), MESSAGES_IN_FRAME_MAX + 1);
            assert_eq!(heard.last(), Some(&Received::Ping));
        }
    }

    #[test]
    fn what_is_left_of_a_message_is_a_message_of_the_commands_left() {
        for encoding in Encoding::ALL {
            let mut message = Vec::new();
            let unsubscribe = |id| Command { id, request: Request::Unsubscribe { channel: "a".into() } };
            for id in 1..=4 {
                if id > 1 {
                    message.extend_from_slice(encoding.separator());
                }
                encoding.command(&unsubscribe(id), &mut message);
            }
            let mut commands = encoding.commands(&message);
            for id in 1..=4 {
                assert_eq!(encoding.commands(commands.rest()).next(), Some(Ok(unsubscribe(id))));
                assert_eq!(commands.next(), Some(Ok(unsubscribe(id))));
            }
            assert_eq!(commands.rest(), b"");
        }
    }

    #[test]
    fn a_servers_ping_is_read_as_pong_by_a_server() {
        for encoding in Encoding::ALL {
            let commands: Vec<_> = encoding.commands(encoding.ping()).collect();
            assert_eq!(commands, [Ok(Command { id: 0, request: Request::Pong })]);
            let mut out = Vec::new();
            encoding.command(&Command { id: 0, request: Request::Pong }, &mut out);
            assert_eq!(out, encoding.ping());
        }
    }
}
