//! Goal: what we write others read as we meant it, what others write we read so, and what others refuse we refuse. Method: `prost`
//! reads any bytes and writes them again; before and after, they must mean the same to us.

use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use wire::{
    ClientId, code,
    link::{ClientInfo, Publication},
    tags::TagsBuf,
};

use super::schema;
use crate::client::{
    command::{BadRequest, Command, Request},
    encoding::Encoding,
    received::{Answer, Event, Info, Received},
    reply::{Connected, Expiry, Push, Reply, Subscribed},
    tests,
};

fn payload() -> BoxedStrategy<&'static [u8]> {
    vec(any::<u8>(), 0..200).prop_map(|bytes| &*bytes.leak()).boxed()
}

/// One field from a few tokens, known or not, well formed or not.
fn token() -> impl Strategy<Value = Vec<u8>> {
    let key = (0..18_u32, 0..8_u32).prop_map(|(number, kind)| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | kind), &mut out);
        out
    });
    prop_oneof![
        4 => key,
        2 => any::<u64>().prop_map(|value| {
            let mut out = Vec::new();
            prost::encoding::encode_varint(value, &mut out);
            out
        }),
        2 => vec(any::<u8>(), 0..6).prop_map(|mut bytes| {
            bytes.insert(0, bytes.len() as u8);
            bytes
        }),
        1 => vec(any::<u8>(), 0..3),
    ]
}

fn behind_its_length(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(body.len() as u64, &mut out);
    out.extend_from_slice(body);
    out
}

fn command(message: &[u8]) -> Result<Command<'_>, BadRequest> {
    let mut all: Vec<_> = Encoding::Protobuf.commands(message).collect();
    assert_eq!(all.len(), 1);
    let mut command = all.remove(0)?;
    if let Request::Connect(connect) = &mut command.request {
        // A map: in no order, and the last of equal keys counts.
        connect.subs.reverse();
        connect.subs.sort_by(|a, b| a.channel.cmp(&b.channel));
        connect.subs.dedup_by(|a, b| a.channel == b.channel);
    }
    Ok(command)
}

fn requests(command: &schema::Command) -> usize {
    [
        command.connect.is_some(),
        command.subscribe.is_some(),
        command.unsubscribe.is_some(),
        command.publish.is_some(),
        command.presence.is_some(),
        command.presence_stats.is_some(),
        command.history.is_some(),
        command.ping.is_some(),
        command.send.is_some(),
        command.rpc.is_some(),
        command.refresh.is_some(),
        command.sub_refresh.is_some(),
    ]
    .into_iter()
    .filter(|asked| *asked)
    .count()
}

/// The same to both implementations, whether well formed or not.
fn both_read(body: &[u8]) -> Result<(), TestCaseError> {
    let message = behind_its_length(body);
    let ours = command(&message);
    match schema::Command::decode(body) {
        Ok(theirs) => {
            let again = behind_its_length(&theirs.encode_to_vec());
            match ours {
                Ok(ours) => prop_assert_eq!(command(&again), Ok(ours)),
                Err(BadRequest::NoId) => prop_assert_eq!(theirs.id, 0),
                Err(BadRequest::NoRequest) => prop_assert_eq!(requests(&theirs), 0),
                Err(other) => prop_assert!(false, "only we refuse: {other}, {theirs:?}"),
            }
        }
        // Of several requests we read only the one that counts, so the others' faults pass; and none without an id to answer.
        Err(_) => prop_assert!(ours.is_err() || several(body), "only they refuse: {ours:?}"),
    }
    Ok(())
}

fn several(body: &[u8]) -> bool {
    let mut numbers: Vec<u32> = crate::protobuf::Fields::new(body)
        .map_while(Result::ok)
        .map(|(number, _)| number)
        .filter(|number| (4..=15).contains(number))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len() > 1
}

fn heard(message: &[u8]) -> Vec<Received<'_>> {
    Encoding::Protobuf.received(message).map(|received| sorted(received.unwrap())).collect()
}

/// Maps have no order.
fn sorted(mut received: Received<'_>) -> Received<'_> {
    match &mut received {
        Received::Reply { answer: Answer::Presence(members), .. } => {
            members.sort_by(|a, b| a.client.cmp(&b.client));
        }
        Received::Reply { answer: Answer::Connect(session), .. } => {
            session.subs.sort_by(|a, b| a.channel.cmp(&b.channel));
        }
        _ => {}
    }
    received
}

/// What a server writes is read by both, and means the same to us when they have written it again.
fn both_hear(message: &[u8]) -> Result<(), TestCaseError> {
    let theirs = schema::Reply::decode_length_delimited(message);
    prop_assert!(theirs.is_ok(), "{theirs:?}");
    let again = theirs.unwrap().encode_length_delimited_to_vec();
    prop_assert_eq!(heard(&again), heard(message));
    Ok(())
}

/// What a server may have to say, for one draw of everything.
#[derive(Debug)]
struct World {
    channel: String,
    user: String,
    epoch: String,
    data: &'static [u8],
    info: &'static [u8],
    number: u64,
    flags: [bool; 5],
    tags: TagsBuf,
    expiry: Expiry,
    clients: Vec<[u8; 16]>,
}

fn world() -> impl Strategy<Value = World> {
    let texts = (any::<String>(), any::<String>(), any::<String>());
    let expiry = option::of(any::<u32>()).prop_map(|ttl| ttl.map_or(Expiry::Never, Expiry::Seconds));
    (texts, payload(), payload(), any::<u64>(), any::<[bool; 5]>(), expiry, vec(any::<[u8; 16]>(), 1..4))
        .prop_map(|((channel, user, epoch), data, info, number, flags, expiry, clients)| World {
            channel,
            user,
            epoch,
            data,
            info,
            number,
            flags,
            tags: TagsBuf::pack([("k", "v"), ("", "a"), ("b", "")]).unwrap(),
            expiry,
            clients,
        })
}

impl World {
    fn infos(&self) -> Vec<ClientInfo<'_>> {
        let clients: std::collections::BTreeSet<_> =
            self.clients.iter().copied().map(ClientId::from_random).collect();
        clients
            .into_iter()
            .map(|client| ClientInfo { client, user: &self.user, conn_info: self.info, chan_info: self.data })
            .collect()
    }

    fn subscribed<'a>(&'a self, publications: &'a [Publication<'a>]) -> Subscribed<'a> {
        let [recoverable, recovered, positioned, was_recovering, delta] = self.flags;
        Subscribed {
            expiry: self.expiry,
            recoverable,
            epoch: &self.epoch,
            publications,
            recovered,
            offset: self.number,
            positioned,
            data: self.data,
            was_recovering,
            delta,
            number: self.number as u32,
            ..Subscribed::default()
        }
    }
}

proptest! {
    #[test]
    fn commands_mean_the_same_to_both(id in 1..u32::MAX, request in tests::request(payload)) {
        let mut out = Vec::new();
        let written = Command { id, request };
        Encoding::Protobuf.command(&written, &mut out);
        prop_assert_eq!(Encoding::Protobuf.commands(&out).collect::<Vec<_>>(), [Ok(written)]);
        let theirs = schema::Command::decode_length_delimited(&out[..]).unwrap();
        prop_assert_eq!(requests(&theirs), 1);
        let again = theirs.encode_length_delimited_to_vec();
        prop_assert_eq!(command(&again), command(&out));
    }

    #[test]
    fn commands_with_bytes_changed_mean_the_same_or_are_refused_by_both(
        id in 1..u32::MAX, request in tests::request(payload), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut out = Vec::new();
        Encoding::Protobuf.command(&Command { id, request }, &mut out);
        let mut rest = &out[..];
        let length = prost::encoding::decode_varint(&mut rest).unwrap() as usize;
        let mut body = rest.to_vec();
        prop_assert_eq!(length, body.len());
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        both_read(&body)?;
    }

    #[test]
    fn fields_of_any_kind_mean_the_same_or_are_refused_by_both(tokens in vec(token(), 0..12), inner in vec(token(), 0..8), kind in 4..16_u8) {
        both_read(&tokens.concat())?;
        // The same as the fields of a request.
        let body = [vec![8, 1, kind << 3 | 2], behind_its_length(&inner.concat())].concat();
        both_read(&body)?;
        both_read(&[body, tokens.concat()].concat())?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let commands = Encoding::Protobuf.commands(&bytes).count();
        prop_assert!((1..=bytes.len().max(1)).contains(&commands));
        let _ = Encoding::Protobuf.received(&bytes).count();
    }

    #[test]
    fn a_message_cut_anywhere_is_refused(id in 1..u32::MAX, request in tests::request(payload), cut in any::<prop::sample::Index>()) {
        let mut out = Vec::new();
        Encoding::Protobuf.command(&Command { id, request }, &mut out);
        let cut = cut.index(out.len());
        prop_assert!(Encoding::Protobuf.commands(&out[..cut]).all(|command| command.is_err()));
    }

    #[test]
    fn replies_mean_the_same_to_both(id in 1..u32::MAX, world in world()) {
        let infos = world.infos();
        let publications = [
            Publication {
                offset: world.number, data: world.data, info: Some(infos[0]), tags: world.tags.as_tags(), delta: false,
            },
            Publication { data: world.info, ..Publication::default() },
        ];
        let patches = [None, Some(world.data.to_vec())];
        let subscribed = Subscribed { patches: &patches, ..world.subscribed(&publications) };
        let subs = [(&*world.channel, subscribed)];
        let connected = Connected {
            client: infos[0].client, version: &world.epoch, expiry: world.expiry, data: world.data, subs: &subs,
            ping_s: world.number as u32, pong: world.flags[0], session: &world.channel, node: &world.epoch,
        };
        for reply in [
            Reply::Error(code::TOO_MANY_REQUESTS),
            Reply::Connect(connected),
            Reply::Subscribe(subscribed),
            Reply::Unsubscribe,
            Reply::Publish,
            Reply::Presence(&infos),
            Reply::PresenceStats { clients: world.number as u32, users: id },
            Reply::History { publications: &publications, epoch: &world.epoch, offset: world.number },
            Reply::Rpc { data: world.data },
            Reply::Refresh { client: infos[0].client, version: &world.epoch, expiry: world.expiry },
            Reply::SubRefresh { expiry: world.expiry },
        ] {
            let mut out = Vec::new();
            Encoding::Protobuf.reply(id, &reply, &mut out);
            both_hear(&out)?;
            // JSON says the same where the payloads allow it: the words are the same, only the bytes differ.
            if matches!(reply, Reply::Error(_) | Reply::Unsubscribe | Reply::Publish | Reply::PresenceStats { .. }) {
                let mut json = Vec::new();
                Encoding::Json.reply(id, &reply, &mut json);
                let json: Vec<_> = Encoding::Json.received(&json).map(Result::unwrap).collect();
                prop_assert_eq!(heard(&out), json);
            }
        }
    }

    #[test]
    fn pushes_mean_the_same_to_both(world in world()) {
        let infos = world.infos();
        let publication = Publication {
            offset: world.number, data: world.data, info: Some(infos[0]), tags: world.tags.as_tags(), delta: true,
        };
        for push in [
            Push::Publication(&publication),
            Push::Delta { publication: &publication, patch: Some(world.info) },
            Push::Delta { publication: &publication, patch: None },
            Push::Join(&infos[0]),
            Push::Leave(&infos[0]),
            Push::Unsubscribe(code::INSUFFICIENT_STATE),
            Push::Subscribe(world.subscribed(&[])),
            Push::Message { data: world.data },
            Push::Refresh(world.expiry),
            Push::Disconnect { code: 3001, reason: &world.epoch },
        ] {
            let mut out = Vec::new();
            Encoding::Protobuf.push(&world.channel, &push, &mut out);
            both_hear(&out)?;
            out.clear();
            Encoding::Protobuf.push_by_number(world.number as u32, &push, &mut out);
            both_hear(&out)?;
        }
        let mut out = Vec::new();
        Encoding::Protobuf.push(&world.channel, &Push::Publication(&publication), &mut out);
        let all = heard(&out);
        let [Received::Push { channel, event: Event::Publication(message), .. }] = &all[..] else { panic!("{all:?}") };
        prop_assert_eq!(channel, &world.channel);
        prop_assert_eq!((message.data, message.offset), (world.data, world.number));
        let client = infos[0].client.to_string();
        let info = Info {
            user: (&*world.user).into(), client: client.into(), conn_info: world.info, chan_info: world.data,
        };
        prop_assert_eq!(&message.info, &Some(info));
    }
}
