//! What holds for any command, reply and bytes.

use std::borrow::Cow;

use proptest::{collection::vec, option, prelude::*};
use wire::{
    ClientId,
    link::{ClientInfo, Publication},
};

use crate::client::{
    command::{Command, Connect, History, Publish, Request, Resume, Rpc, Since, SubRefresh, Subscribe},
    encoding::Encoding,
    received::{Answer, Event, Received},
    reply::{Push, Reply, Subscribed},
};

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    any::<String>().prop_map(Cow::Owned)
}

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

fn compact(json: &[u8]) -> serde_json::Value {
    serde_json::from_slice(json).unwrap()
}

fn subscribe() -> impl Strategy<Value = Request<'static>> {
    let flags = any::<(bool, bool, bool, bool)>();
    (text(), text(), text(), any::<u64>(), payload(), flags, text(), any::<i64>(), any::<i32>()).prop_map(
        |(channel, token, epoch, offset, data, flags, delta, flag, kind)| {
            let (recover, positioned, recoverable, join_leave) = flags;
            let filter: &[u8] = if recover { b"{\"op\":\"\"}" } else { b"" };
            Request::Subscribe(Subscribe {
                channel,
                token,
                recover,
                epoch,
                offset,
                data,
                positioned,
                recoverable,
                join_leave,
                delta,
                filter,
                flag,
                kind,
            })
        },
    )
}

fn connect() -> impl Strategy<Value = Request<'static>> {
    let resume = (text(), any::<bool>(), any::<u64>(), text())
        .prop_map(|(channel, recover, offset, epoch)| Resume { channel, recover, offset, epoch });
    (text(), payload(), text(), text(), vec(resume, 0..4)).prop_map(|(token, data, name, version, subs)| {
        Request::Connect(Connect { token, data, name, version, subs })
    })
}

fn history() -> impl Strategy<Value = Request<'static>> {
    let since = (any::<u64>(), text()).prop_map(|(offset, epoch)| Since { offset, epoch });
    (text(), any::<i32>(), option::of(since), any::<bool>()).prop_map(|(channel, limit, since, reverse)| {
        Request::History(History { channel, limit, since, reverse })
    })
}

fn request() -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        connect(),
        Just(Request::Ping),
        subscribe(),
        text().prop_map(|channel| Request::Unsubscribe { channel }),
        (text(), payload()).prop_map(|(channel, data)| Request::Publish(Publish { channel, data })),
        text().prop_map(|channel| Request::Presence { channel }),
        text().prop_map(|channel| Request::PresenceStats { channel }),
        history(),
        (text(), payload()).prop_map(|(method, data)| Request::Rpc(Rpc { method, data })),
        payload().prop_map(|data| Request::Send { data }),
        text().prop_map(|token| Request::Refresh { token }),
        (text(), text()).prop_map(|(channel, token)| Request::SubRefresh(SubRefresh { channel, token })),
    ]
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
