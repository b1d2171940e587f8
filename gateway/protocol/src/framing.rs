//! How messages of the client protocol stand on a connection: in WebSocket frames, as lines or events of an HTTP response's chunks.
//!
//! Owns the bytes around messages, never what is in them. Whatever stands in a WebSocket frame can be framed anew for the others,
//! so that a publication is encoded once and framed once for each way that has subscribers.

use std::rc::Rc;

use crate::{
    client::encoding::Encoding,
    ws::{self, Deflater},
};

/// What surrounds one connection's messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// WebSocket frames.
    #[default]
    WebSocket,
    /// The same, of a client that also takes compressed messages: what is for many is compressed.
    Deflate,
    /// A response that lasts as long as the session: JSON lines, or Protobuf messages with their lengths.
    Stream,
    /// The same as server-sent events.
    Sse,
    /// The same as [`Framing::Stream`], but the response ends with the first news.
    Poll,
    /// WebSocket frames of a client that only listens: pushes without their envelope, one in each frame.
    Uni,
}

/// What ends a response in chunks (RFC 9112 §7.1).
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// How often one WebSocket frame can be framed anew: [`Framing::Stream`] and [`Framing::Poll`] are the same bytes.
pub const FORMS: usize = 4;

const PUSH: &[u8] = b"{\"push\":";

impl Framing {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// The connection carries WebSocket frames.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::Deflate | Self::Uni)
    }

    /// Commands come by requests of their own.
    pub const fn is_emulated(self) -> bool {
        matches!(self, Self::Stream | Self::Sse)
    }

    /// Dense index of the bytes that are not a plain WebSocket frame.
    pub const fn form(self) -> Option<usize> {
        match self {
            Self::WebSocket => None,
            Self::Stream | Self::Poll => Some(0),
            Self::Sse => Some(1),
            Self::Uni => Some(2),
            Self::Deflate => Some(3),
        }
    }

    /// Appends messages, joined as [`Encoding::separator`] says.
    pub fn frame(self, encoding: Encoding, messages: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::WebSocket | Self::Deflate => ws::frame(encoding.frame_opcode(), messages, out),
            Self::Stream | Self::Poll => {
                let end = encoding.separator();
                chunk(messages.len() + end.len(), out, |out| {
                    out.extend_from_slice(messages);
                    out.extend_from_slice(end);
                });
            }
            Self::Sse => {
                let lines = messages.split(|byte| *byte == b'\n');
                let bytes: usize = lines.clone().map(|line| DATA.len() + line.len() + 1).sum();
                chunk(bytes + 1, out, |out| {
                    for line in lines {
                        out.extend_from_slice(DATA);
                        // White space in JSON, the end of a line in an event.
                        out.extend(line.iter().map(|byte| if *byte == b'\r' { b' ' } else { *byte }));
                        out.push(b'\n');
                    }
                    out.push(b'\n');
                });
            }
            Self::Uni => {
                for line in messages.split(|byte| *byte == b'\n') {
                    ws::frame(encoding.frame_opcode(), unwrapped(line), out);
                }
            }
        }
    }

    /// The messages of a whole WebSocket frame in this framing.
    pub fn reframe(self, encoding: Encoding, frame: &Rc<[u8]>, deflater: &mut Deflater) -> Rc<[u8]> {
        if self == Self::Deflate {
            return deflater.frame(frame);
        }
        let mut out = Vec::with_capacity(frame.len() + 32);
        self.frame(encoding, ws::payload(frame), &mut out);
        Rc::from(out)
    }
}

const DATA: &[u8] = b"data: ";

/// Appends a chunk of so many bytes, which `write` appends.
fn chunk(bytes: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    debug_assert!(bytes > 0, "an empty chunk would end the response");
    let digits = bytes.checked_ilog(16).unwrap_or(0);
    for shift in (0..=digits).rev() {
        out.push(b"0123456789abcdef"[(bytes >> (4 * shift)) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
    let start = out.len();
    write(out);
    debug_assert_eq!(out.len() - start, bytes, "a chunk is as long as it says");
    out.extend_from_slice(b"\r\n");
}

/// What a listener is told: the push itself. Other messages stay as they are.
fn unwrapped(message: &[u8]) -> &[u8] {
    message.strip_prefix(PUSH).and_then(|push| push.strip_suffix(b"}")).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(framing: Framing, messages: &str) -> String {
        let mut out = Vec::new();
        framing.frame(Encoding::Json, messages.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The body of chunks, each of which must be as long as it says.
    fn body(mut chunks: &str) -> String {
        let mut body = String::new();
        while !chunks.is_empty() {
            let (digits, rest) = chunks.split_once("\r\n").unwrap();
            let (data, rest) = rest.split_at(usize::from_str_radix(digits, 16).unwrap());
            body.push_str(data);
            chunks = rest.strip_prefix("\r\n").unwrap();
        }
        body
    }

    #[test]
    fn a_stream_has_a_line_for_each_message() {
        assert_eq!(framed(Framing::Stream, "{}"), "3\r\n{}\n\r\n");
        assert_eq!(body(&framed(Framing::Poll, "{\"id\":1}\n{}")), "{\"id\":1}\n{}\n");
    }

    #[test]
    fn an_event_has_a_line_for_each_message() {
        assert_eq!(framed(Framing::Sse, "{}"), "a\r\ndata: {}\n\n\r\n");
        assert_eq!(body(&framed(Framing::Sse, "{\"a\":\r1}\n{}")), "data: {\"a\": 1}\ndata: {}\n\n");
    }

    #[test]
    fn listeners_get_pushes_without_their_envelope() {
        let mut expected = Vec::new();
        ws::frame(ws::Opcode::Text, br#"{"channel":"a","pub":{"data":{}}}"#, &mut expected);
        ws::frame(ws::Opcode::Text, b"{}", &mut expected);
        let messages = b"{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":{}}}}\n{}";
        let mut found = Vec::new();
        Framing::Uni.frame(Encoding::Json, messages, &mut found);
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn what_is_in_a_frame_is_the_same_in_every_framing(
            messages in prop::collection::vec("\\{\"[a-z]{0,300}\"\\}", 1..20)
        ) {
            let joined = messages.join("\n");
            let mut frame = Vec::new();
            ws::frame(ws::Opcode::Text, joined.as_bytes(), &mut frame);
            let frame = Rc::from(frame);
            let again = |framing: Framing| {
                let bytes = framing.reframe(Encoding::Json, &frame, &mut Deflater::default());
                String::from_utf8(bytes.to_vec()).unwrap()
            };
            prop_assert_eq!(body(&again(Framing::Stream)), format!("{joined}\n"));
            let events = body(&again(Framing::Sse));
            let lines: Vec<_> = events.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            prop_assert_eq!(lines, messages);
            prop_assert!(events.ends_with("\n\n") && events.matches("\n\n").count() == 1);
        }
    }
}
