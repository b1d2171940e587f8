//! Protobuf messages, both ways, and any payload in either encoding: what one client publishes never spoils another's message.

use protocol::client::{
    command::{Command, Request},
    encoding::Encoding,
    received::{Event, Received},
    reply::{Connected, Expiry, Push, Reply, Subscribed},
};
use wire::{
    ClientId, code,
    link::{ClientInfo, Publication},
};

use super::command;

/// The input as a message of a client, as one of a server, and as something to publish.
pub(super) fn run(bytes: &[u8]) {
    command::commands_in(Encoding::Protobuf, bytes);
    command::received_in(Encoding::Protobuf, bytes);
    published(bytes);
}

fn published(data: &[u8]) {
    let info = ClientInfo { client: ClientId::default(), user: "u", conn_info: data, chan_info: b"" };
    let publication = Publication { offset: 1, data, info: Some(info), ..Publication::default() };
    let push = Push::Publication(&publication);
    let mut message = Vec::new();
    Encoding::Protobuf.push("c", &push, &mut message);
    assert_eq!(heard(Encoding::Protobuf, &message), data);
    message.clear();
    Encoding::Json.push("c", &push, &mut message);
    assert!(!message.contains(&b'\n'), "a newline would end the document");
    let text = std::str::from_utf8(&message).expect("text messages are UTF-8");
    serde_json::from_str::<serde::de::IgnoredAny>(text).expect("JSON by its grammar");
    heard(Encoding::Json, &message);
}

fn heard(encoding: Encoding, message: &[u8]) -> Vec<u8> {
    let mut all = encoding.received(message);
    let Some(Ok(Received::Push { event: Event::Publication(message), .. })) = all.next() else {
        panic!("one publication")
    };
    assert!(all.next().is_none());
    message.data.to_vec()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut all = Vec::new();
    for seed in command::command_seeds() {
        for command in Encoding::Json.commands(&seed).flatten() {
            let mut out = Vec::new();
            Encoding::Protobuf.command(&command, &mut out);
            all.extend_from_slice(&out);
            seeds.push(out);
        }
    }
    let pong = Command { id: 0, request: Request::Pong };
    Encoding::Protobuf.command(&pong, &mut all);
    seeds.push(all);
    seeds.extend(server_seeds());
    seeds.extend([&b"{\"a\":[1,\"\\ud800\"]}\n"[..], b"\xff\x00", b"\x0b\x13\x14\x0c"].map(<[u8]>::to_vec));
    seeds
}

fn server_seeds() -> Vec<Vec<u8>> {
    let info = ClientInfo { client: ClientId([7; 16]), user: "ann", conn_info: b"{}", chan_info: b"\xff" };
    let publications =
        [Publication { offset: 300, data: b"{\"t\":1}", info: Some(info), ..Publication::default() }];
    let subscribed = Subscribed {
        expiry: Expiry::Seconds(600),
        recoverable: true,
        epoch: "e",
        publications: &publications,
        offset: 299,
        recovered: true,
        ..Subscribed::default()
    };
    let connected = Connected {
        client: info.client,
        version: "6",
        expiry: Expiry::Never,
        data: b"hello",
        subs: &[("news", subscribed)],
        ping_s: 25,
        pong: true,
        session: "s",
        node: "n",
    };
    let replies = [
        Reply::Error(code::TOO_MANY_REQUESTS),
        Reply::Connect(connected),
        Reply::Subscribe(subscribed),
        Reply::Presence(&[info]),
        Reply::PresenceStats { clients: 2, users: 1 },
        Reply::History { publications: &publications, epoch: "e", offset: 300 },
        Reply::Rpc { data: b"x" },
        Reply::Refresh { client: info.client, version: "6", expiry: Expiry::Seconds(5) },
        Reply::SubRefresh { expiry: Expiry::Seconds(5) },
    ];
    let pushes = [
        Push::Publication(&publications[0]),
        Push::Join(&info),
        Push::Unsubscribe(code::INSUFFICIENT_STATE),
        Push::Subscribe(subscribed),
        Push::Message { data: b"x" },
        Push::Refresh(Expiry::Seconds(1)),
    ];
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    let replies = replies.iter().map(|reply| written(&|out| Encoding::Protobuf.reply(7, reply, out)));
    let pushes = pushes.iter().map(|push| written(&|out| Encoding::Protobuf.push("news", push, out)));
    replies.chain(pushes).collect()
}
