//! Publications for those who take them compressed and for those who do not, in one channel.

use super::*;
use crate::ws::Compression;

/// A ready session in the open channel "news".
fn enter(world: &mut World, target: &str, fields: &str) -> (usize, String) {
    let index = world.socket();
    world.write(index, &upgrade(target, fields));
    let answer = String::from_utf8(world.sent(index)).unwrap();
    (index, answer)
}

fn subscribed(world: &mut World, fields: &str) -> usize {
    let (index, answer) = enter(world, "/connection/websocket", fields);
    assert_eq!(answer.contains("permessage-deflate"), !fields.is_empty());
    world.say(index, r#"{"id":1,"connect":{}}"#);
    world.say(index, r#"{"id":2,"subscribe":{"channel":"news"}}"#);
    if let Some(request) = world.asked().iter().find_map(|text| subscribe_request(text)) {
        world.hear(&begun(request, 0, ""));
    }
    let said = world.sent(index);
    assert_eq!(said[0], 0x81, "replies are as ever");
    index
}

fn compressing() -> World {
    World::with(Rules { compression: Some(Compression::default()), ..Rules::default() })
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// A publication's frame as one session is sent it.
fn published(world: &mut World, data: &str, to: &[usize]) -> Vec<Vec<u8>> {
    let publication = Publication { data: data.as_bytes(), ..Publication::default() };
    world.hear(&ToShard::Publication { channel: "news", publication });
    to.iter().map(|index| world.sent(*index)).collect()
}

fn text(mut frame: Vec<u8>) -> String {
    let limits = Limits { deflate: true, ..Limits::default() };
    match Reader::new().next(Role::Client, &mut frame, &limits).unwrap() {
        (_, Item::Text(text)) => text.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_publication_is_compressed_for_those_who_take_it_so() {
    let mut world = compressing();
    let all = [OFFER, "", OFFER].map(|fields| subscribed(&mut world, fields));
    let data = format!("\"{}\"", "hello ".repeat(50));
    let frames = published(&mut world, &data, &all);
    assert_eq!(frames.iter().map(|frame| frame[0]).collect::<Vec<_>>(), [0xc1, 0x81, 0xc1]);
    assert_eq!(frames[0], frames[2]);
    assert!(frames[0].len() < 100 && frames[1].len() > 300);
    let expected = format!("{{\"push\":{{\"channel\":\"news\",\"pub\":{{\"data\":{data}}}}}}}");
    for frame in frames {
        assert_eq!(text(frame), expected);
    }
    // Too short to gain.
    for frame in published(&mut world, "{}", &all) {
        assert_eq!(frame[0], 0x81);
    }
}

#[test]
fn an_idle_session_that_takes_compressed_messages_holds_what_any_other_does() {
    let mut world = compressing();
    let all = [OFFER, ""].map(|fields| subscribed(&mut world, fields));
    published(&mut world, &format!("\"{}\"", "hello ".repeat(50)), &all);
    for index in all {
        let connection = &world.shard.connections[index];
        assert!(connection.hot.is_none());
        assert_eq!(connection.reader.held_bytes(), 0);
    }
}

#[test]
fn commands_may_come_compressed_from_those_who_agreed() {
    // {"id":3,"unsubscribe":{"channel":"news"}} in a stored block.
    let command = br#"{"id":3,"unsubscribe":{"channel":"news"}}"#;
    let length = command.len() as u16;
    let [low, high] = length.to_le_bytes();
    let body = [&[0, low, high, !low, !high][..], command, &[0]].concat();
    let mut world = compressing();
    let all = [OFFER, ""].map(|fields| subscribed(&mut world, fields));
    for index in all {
        let mut frame = Vec::new();
        masked_frame(Opcode::Text, &body, [1, 2, 3, 4], &mut frame);
        frame[0] |= 0x40;
        world.shard.receive(world.now, index, &mut frame);
    }
    assert_eq!(world.heard(all[0]), [r#"{"id":3,"unsubscribe":{}}"#]);
    assert_eq!(world.heard(all[1]), ["close 1002"]);
}

#[test]
fn nothing_is_agreed_to_unless_it_is_switched_on() {
    let mut world = World::new();
    let (_, answer) = enter(&mut world, "/connection/websocket", OFFER);
    assert!(answer.starts_with("HTTP/1.1 101") && !answer.contains("Extensions"), "{answer}");
}
