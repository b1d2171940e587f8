//! WebSocket streams: the same items come out wherever the stream is cut, and the caller never has to keep more than promised.

use protocol::ws::{
    Item, Limits, Opcode, Reader, Role, Violation, close_frame, frame, limits::RETAINED_BYTES_MAX,
    masked_close_frame, masked_frame,
};

const MESSAGE_BYTES_MAX: usize = 1024;

/// What a reader said, in a form that can be kept.
#[derive(PartialEq, Eq, Debug)]
enum Said {
    Message(bool, Vec<u8>),
    Control(u8, Vec<u8>),
    Close(Option<u16>, String),
    Fault(Violation),
}

/// The first byte says where to cut, and by its highest bit whether messages may be compressed; the rest is the stream.
pub(super) fn server(bytes: &[u8]) {
    both(Role::Server, bytes);
}

/// The same, as a client reads it.
pub(super) fn client(bytes: &[u8]) {
    both(Role::Client, bytes);
}

fn both(role: Role, bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let limits = Limits { message_bytes_max: MESSAGE_BYTES_MAX, deflate: piece & 0x80 != 0 };
    let whole = read(role, &limits, stream, stream.len().max(1));
    assert_eq!(read(role, &limits, stream, usize::from(piece).max(1)), whole);
    let ends = |said: &Said| matches!(said, Said::Fault(_) | Said::Close(..));
    let last = whole.iter().position(ends);
    assert!(last.is_none_or(|last| last + 1 == whole.len()), "nothing comes after the end");
    for said in &whole {
        match said {
            Said::Message(_, payload) => assert!(payload.len() <= MESSAGE_BYTES_MAX),
            Said::Control(_, payload) => assert!(payload.len() <= 125),
            Said::Close(code, reason) => {
                assert!(code.is_none_or(protocol::ws::is_sendable));
                assert!(reason.len() <= 123);
            }
            Said::Fault(fault) => assert!(protocol::ws::is_sendable(fault.code())),
        }
    }
}

fn read(role: Role, limits: &Limits, stream: &[u8], piece: usize) -> Vec<Said> {
    let (mut reader, mut kept, mut said) = (Reader::new(), Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        let mut input: Vec<u8> = std::mem::take(&mut kept);
        input.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let rest = input.len() - at;
            let (consumed, item) = match reader.next(role, &mut input[at..], limits) {
                Err(fault) => {
                    said.push(Said::Fault(fault));
                    continue;
                }
                Ok(found) => found,
            };
            match item {
                Item::Incomplete { need } => {
                    let left = rest - consumed;
                    assert!(left <= RETAINED_BYTES_MAX && need > left && need <= RETAINED_BYTES_MAX + 1);
                    kept = input[at + consumed..].to_vec();
                    break;
                }
                Item::Nothing => {}
                Item::Text(text) => said.push(Said::Message(true, text.as_bytes().to_vec())),
                Item::Binary(bytes) => said.push(Said::Message(false, bytes.to_vec())),
                Item::Ping(payload) => said.push(Said::Control(9, payload.to_vec())),
                Item::Pong(payload) => said.push(Said::Control(10, payload.to_vec())),
                Item::Close { code, reason } => said.push(Said::Close(code, reason.to_owned())),
            }
            assert!(consumed > 0, "every item takes something");
            at += consumed;
        }
        assert!(reader.held_bytes() < MESSAGE_BYTES_MAX + 256);
    }
    said
}

/// Frames as tests of both ends want them: a first byte that is not always right, and a payload.
const FRAMES: &[&[(u8, &str)]] = &[
    &[(0x81, "hello"), (0x89, "ping"), (0x82, "binary"), (0x8a, "pong")],
    &[(0x01, "frag"), (0x89, ""), (0x00, "ment"), (0x00, ""), (0x80, "ed \u{1f980}")],
    &[(0x02, "a"), (0x80, "b"), (0x81, ""), (0x88, "\u{3}\u{7f}bye")],
    &[(0x01, "new message"), (0x81, "inside")],
    &[(0x80, "continues nothing")],
    &[(0xc1, "reserved bit"), (0x83, "reserved opcode")],
    &[(0x09, "fragmented ping")],
];

/// RFC 7692 §7.2.3: "Hello" in one frame, in two, in a stored block, before a last block.
const COMPRESSED: &[(u8, &[u8])] = &[
    (0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
    (0x41, b"\xf2\x48\xcd"),
    (0x80, b"\xc9\xc9\x07\x00"),
    (0xc2, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
    (0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
];

pub(super) fn server_seeds() -> Vec<Vec<u8>> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut seeds = Vec::new();
    for frames in FRAMES {
        let mut out = vec![3];
        for (first, payload) in *frames {
            let at = out.len();
            masked_frame(Opcode::Text, payload.as_bytes(), KEY, &mut out);
            out[at] = *first;
        }
        seeds.push(out);
    }
    for bytes in [130, 1024, 1025, 70_000] {
        let mut out = vec![200];
        masked_frame(Opcode::Text, &vec![b'x'; bytes], KEY, &mut out);
        out.truncate(2048);
        seeds.push(out);
    }
    for messages in [COMPRESSED, &COMPRESSED[1..]] {
        let mut out = vec![0x83];
        for (first, body) in messages {
            let at = out.len();
            masked_frame(Opcode::Text, body, KEY, &mut out);
            out[at] = *first;
        }
        seeds.push(out);
    }
    let mut out = vec![1];
    masked_close_frame(Some(3501), "bad request", KEY, &mut out);
    seeds.push(out);
    seeds
}

pub(super) fn client_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for frames in FRAMES {
        let mut out = vec![3];
        for (first, payload) in *frames {
            let at = out.len();
            frame(Opcode::Text, payload.as_bytes(), &mut out);
            out[at] = *first;
        }
        seeds.push(out);
    }
    let mut out = vec![1];
    close_frame(Some(1000), "", &mut out);
    seeds.push(out);
    seeds
}
