//! What holds for any command, reply and bytes.

use proptest::{collection::vec, prelude::*};
use wire::{
    ClientId,
    link::{ClientInfo, Publication},
};

use crate::client::{
    command::{Command, Request},
    encoding::Encoding,
    received::{Answer, Event, Received},
    reply::{Push, Reply, Subscribed},
    tests,
};

/// JSON as a publisher may write it: compact, or over several lines.
fn json() -> impl Strategy<Value = &'static [u8]> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Bool(true)),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            vec((any::<String>(), inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    });
    // Payloads are borrowed by the types under test; a test process may leak a few kilobytes.
    (value, any::<bool>()).prop_map(|(value, pretty)| {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        &*text.into_bytes().leak()
    })
}

fn payload() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![Just(&b""[..]), json()]
}

fn request() -> impl Strategy<Value = Request<'static>> {
    tests::request(|| payload().boxed())
}

fn compact(json: &[u8]) -> serde_json::Value {
    serde_json::from_slice(json).unwrap()
}

/// Payloads lose their newlines on the way; compare what they mean.
fn same_payload(a: &[u8], b: &[u8]) -> bool {
    if a.is_empty() || b.is_empty() { a == b } else { compact(a) == compact(b) }
}

fn take_payload(request: &mut Request<'_>) -> Vec<u8> {
    let data = match request {
        Request::Connect(connect) => &mut connect.data,
        Request::Subscribe(subscribe) => &mut subscribe.data,
        Request::Publish(publish) => &mut publish.data,
        Request::Rpc(rpc) => &mut rpc.data,
        Request::Send { data } => data,
        _ => return Vec::new(),
    };
    std::mem::take(data).to_vec()
}

proptest! {
    #[test]
    fn any_command_is_read_as_it_was_written(id in 1..u32::MAX, request in request()) {
        let mut out = Vec::new();
        let mut command = Command { id, request };
        Encoding::Json.command(&command, &mut out);
        prop_assert!(!out.contains(&b'\n'));
        let read: Result<Vec<_>, _> = Encoding::Json.commands(&out).collect();
        let mut read = read.unwrap();
        prop_assert_eq!(read.len(), 1);
        prop_assert!(same_payload(&take_payload(&mut read[0].request), &take_payload(&mut command.request)));
        prop_assert_eq!(&read[0], &command);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let commands = Encoding::Json.commands(&bytes).count();
        prop_assert!((1..=bytes.len().max(1)).contains(&commands));
        let _ = Encoding::Json.received(&bytes).count();
    }

    #[test]
    fn any_text_made_of_the_protocols_tokens_is_read_or_refused(
        tokens in vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\n", "1", "-", "null", "\"id\"", "\"push\":", "\"pub\":", "\"data\":",
            "\"publish\":", "\"channel\":\"a\"", "{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":", "\"offset\":", "}}}",
        ]), 0..40),
    ) {
        let message = tokens.concat();
        let _ = Encoding::Json.commands(message.as_bytes()).count();
        let _ = Encoding::Json.received(message.as_bytes()).count();
    }

    #[test]
    fn a_document_cut_anywhere_is_refused(id in 1..u32::MAX, request in request(), cut in any::<prop::sample::Index>()) {
        let mut out = Vec::new();
        Encoding::Json.command(&Command { id, request }, &mut out);
        let cut = cut.index(out.len());
        let (head, tail) = out.split_at(cut);
        prop_assert!(Encoding::Json.commands(head).all(|command| command.is_err()));
        let split = [head, tail].join(&b'\n');
        if cut > 0 {
            prop_assert!(Encoding::Json.commands(&split).any(|command| command.is_err()));
        }
    }

    #[test]
    fn a_client_hears_what_the_server_said(
        channel in any::<String>(), epoch in any::<String>(), user in any::<String>(), data in json(), info in json(),
        offset in any::<u64>(), bytes in any::<[u8; 16]>(), with_info in any::<bool>(),
    ) {
        let client = ClientId::from_random(bytes);
        let info = with_info.then_some(ClientInfo { client, user: &user, conn_info: info, chan_info: b"" });
        let publication = Publication { offset, data, info, ..Publication::default() };
        let mut out = Vec::new();
        Encoding::Json.push(&channel, &Push::Publication(&publication), &mut out);
        out.extend_from_slice(Encoding::Json.separator());
        let publications = [publication, publication];
        let subscribed = Subscribed { epoch: &epoch, publications: &publications, offset, ..Subscribed::default() };
        Encoding::Json.reply(1, &Reply::Subscribe(subscribed), &mut out);

        let heard: Result<Vec<_>, _> = Encoding::Json.received(&out).collect();
        let heard = heard.unwrap();
        prop_assert_eq!(heard.len(), 2);
        let Received::Push { channel: heard_channel, event: Event::Publication(message), .. } = &heard[0] else {
            panic!("a publication")
        };
        prop_assert_eq!(heard_channel, &channel);
        let Received::Reply { id: 1, answer: Answer::Subscribe(subscription) } = &heard[1] else { panic!("an answer") };
        prop_assert_eq!(&subscription.epoch, &epoch);
        prop_assert_eq!(subscription.offset, offset);
        prop_assert_eq!(subscription.publications.len(), 2);
        for message in [message, &subscription.publications[0], &subscription.publications[1]] {
            prop_assert_eq!(message.offset, offset);
            prop_assert_eq!(compact(message.data), compact(data));
            prop_assert_eq!(message.info.is_some(), with_info);
            if let Some(info) = &message.info {
                prop_assert_eq!(&info.user, &user);
                prop_assert_eq!(&info.client, &client.to_string());
            }
        }
    }
}
