//! Bytes as the encoding's rules and the protocol's field numbers make them, worked out by hand.

use std::borrow::Cow;

use wire::link::Publication;

use crate::client::{
    command::{BadRequest, Command, Connect, Publish, Request, Resume},
    encoding::Encoding,
    received::{Event, Message, Received},
    reply::{Push, Reply},
};

fn commands(message: &[u8]) -> Vec<Result<Command<'_>, BadRequest>> {
    Encoding::Protobuf.commands(message).collect()
}

fn publish(id: u32, channel: &'static str, data: &'static [u8]) -> Command<'static> {
    Command { id, request: Request::Publish(Publish { channel: Cow::Borrowed(channel), data }) }
}

#[test]
fn a_publish_command_is_these_bytes() {
    let bytes = b"\x0d\x08\x04\x3a\x09\x0a\x03a:b\x12\x02\x00\xff";
    assert_eq!(commands(bytes), [Ok(publish(4, "a:b", b"\x00\xff"))]);
    let mut out = Vec::new();
    Encoding::Protobuf.command(&publish(4, "a:b", b"\x00\xff"), &mut out);
    assert_eq!(out, bytes);
}

#[test]
fn a_publication_push_is_these_bytes() {
    let mut out = Vec::new();
    let publication = Publication { offset: 15, data: b"hi", ..Publication::default() };
    Encoding::Protobuf.push("a", &Push::Publication(&publication), &mut out);
    assert_eq!(out, b"\x0d\x22\x0b\x12\x01a\x22\x06\x22\x02hi\x30\x0f");
    let heard: Vec<_> = Encoding::Protobuf.received(&out).collect();
    let message = Message { data: b"hi", offset: 15, ..Message::default() };
    let event = Event::Publication(message);
    assert_eq!(heard, [Ok(Received::Push { channel: Cow::Borrowed("a"), number: 0, event })]);
}

#[test]
fn an_empty_answer_is_there_and_an_empty_message_is_a_ping() {
    let mut out = Vec::new();
    Encoding::Protobuf.reply(2, &Reply::Publish, &mut out);
    assert_eq!(out, [4, 0x08, 2, 0x42, 0]);
    assert_eq!(Encoding::Protobuf.ping(), [0]);
    assert_eq!(Encoding::Protobuf.received(&[0]).collect::<Vec<_>>(), [Ok(Received::Ping)]);
}

#[test]
fn a_message_holds_any_number_of_commands() {
    let one = b"\x05\x08\x01\x5a\x00\x00";
    assert_eq!(commands(&one[..5]), [Err(BadRequest::Malformed)], "the length is one too many");
    let pong = Ok(Command { id: 0, request: Request::Pong });
    assert_eq!(commands(&[0, 0]), [pong.clone(), pong.clone()]);
    assert_eq!(commands(&[4, 8, 1, 0x5a, 0, 0]), [Ok(Command { id: 1, request: Request::Ping }), pong]);
    assert_eq!(commands(&[]), [Err(BadRequest::Empty)]);
}

#[test]
fn commands_that_cannot_be_answered_are_refused() {
    assert_eq!(commands(&[2, 8, 7]), [Err(BadRequest::NoRequest)]);
    assert_eq!(commands(&[2, 0x5a, 0]), [Err(BadRequest::NoId)]);
    assert_eq!(commands(&[2, 0x62, 0]), [Ok(Command { id: 0, request: Request::Send { data: b"" } })]);
    // An unknown request beside an id is none; without one it is a pong with something unknown in it.
    assert_eq!(commands(&[5, 8, 1, 0xa2, 1, 0]), [Err(BadRequest::NoRequest)]);
}

#[test]
fn of_several_requests_the_first_of_the_protocol_counts() {
    // Ping stands behind publish in the numbers, before it in the protocol's order.
    let bytes = [&[13, 8, 4, 0x5a, 0, 0x3a, 7][..], b"\x0a\x01a\x12\x02{}"].concat();
    assert_eq!(commands(&bytes), [Ok(Command { id: 4, request: Request::Ping })]);
}

#[test]
fn a_request_in_parts_is_put_together() {
    let bytes = b"\x10\x08\x04\x3a\x03\x0a\x01a\x3a\x07\x0a\x01b\x12\x02{}";
    assert_eq!(commands(bytes), [Ok(publish(4, "b", b"{}"))]);
}

#[test]
fn known_fields_of_another_kind_and_strings_that_are_no_text_are_refused() {
    for bytes in [
        &b"\x04\x0a\x00\x5a\x00"[..],
        b"\x04\x08\x01\x38\x05",
        b"\x06\x08\x01\x3a\x02\x08\x01",
        b"\x07\x08\x01\x3a\x03\x0a\x01\xff",
        b"\x09\x08\x01\x3a\x05\x0d\x00\x00\x00\x00",
    ] {
        assert_eq!(commands(bytes), [Err(BadRequest::Malformed)], "{bytes:x?}");
    }
}

#[test]
fn positions_of_server_side_subscriptions_come_as_a_map() {
    let resume =
        Resume { channel: Cow::Borrowed("a"), recover: true, offset: 300, epoch: Cow::Borrowed("e") };
    let expected =
        Command { id: 1, request: Request::Connect(Connect { subs: vec![resume], ..Connect::default() }) };
    let bytes = b"\x13\x08\x01\x22\x0f\x1a\x0d\x0a\x01a\x12\x08\x18\x01\x32\x01e\x38\xac\x02";
    assert_eq!(commands(bytes), [Ok(expected.clone())]);
    // Value before key, and a channel within the value, which is not the key.
    let bytes = b"\x16\x08\x01\x22\x12\x1a\x10\x12\x0b\x0a\x01x\x18\x01\x32\x01e\x38\xac\x02\x0a\x01a";
    assert_eq!(commands(bytes), [Ok(expected)]);
}
