//! The documented examples, byte for byte.

use std::borrow::Cow;

use wire::{
    ClientId, code,
    link::{ClientInfo, Publication},
    tags::TagsBuf,
};

use crate::client::{
    command::{
        BadRequest, Command, Connect, History, Publish, Request, Resume, Rpc, Since, SubRefresh, Subscribe,
    },
    encoding::Encoding,
    received::{
        Answer, Counts, Ended, Event, Failure, Info, Message, Page, Received, Refreshed, Session,
        Subscription,
    },
    reply::{Connected, Expiry, Push, Reply, Subscribed},
};

const CLIENT: ClientId = ClientId([
    0x9a, 0xc9, 0xde, 0x4e, 0x52, 0x89, 0x4a, 0xd6, 0x9a, 0xa7, 0x84, 0x47, 0xf0, 0x07, 0x08, 0x3e,
]);
const CLIENT_TEXT: &str = "9ac9de4e-5289-4ad6-9aa7-8447f007083e";

fn s(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn commands(message: &str) -> Vec<Result<Command<'_>, BadRequest>> {
    Encoding::Json.commands(message.as_bytes()).collect()
}

fn command(line: &str) -> Result<Command<'_>, BadRequest> {
    let mut all = commands(line);
    assert_eq!(all.len(), 1, "{line}");
    all.remove(0)
}

fn received(line: &str) -> Received<'_> {
    let mut all: Vec<_> = Encoding::Json.received(line.as_bytes()).collect();
    assert_eq!(all.len(), 1, "{line}");
    all.remove(0).unwrap()
}

/// The command reads as expected and is written exactly so.
fn command_is(line: &str, id: u32, request: Request<'_>) {
    let expected = Command { id, request };
    assert_eq!(command(line).as_ref(), Ok(&expected));
    let mut out = Vec::new();
    Encoding::Json.command(&expected, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), line);
}

#[test]
fn publications_with_tags() {
    let packed = TagsBuf::pack([("b", "2\""), ("a", "1")]).unwrap();
    let tags = vec![(s("a"), s("1")), (s("b"), s("2\""))];
    push_is(
        "chat:42",
        Push::Publication(&Publication {
            offset: 1,
            data: b"{}",
            tags: packed.as_tags(),
            ..Publication::default()
        }),
        r#"{"push":{"channel":"chat:42","pub":{"data":{},"offset":1,"tags":{"a":"1","b":"2\""}}}}"#,
        Event::Publication(Message { data: b"{}", offset: 1, tags, ..Message::default() }),
    );
}

#[test]
fn publications_as_differences_are_in_strings() {
    let publication = Publication { offset: 2, data: b"{\"a\":\n1}", ..Publication::default() };
    push_is(
        "chat:42",
        Push::Delta { publication: &publication, patch: None },
        r#"{"push":{"channel":"chat:42","pub":{"data":"{\"a\":\n1}","offset":2}}}"#,
        Event::Publication(Message { data: br#""{\"a\":\n1}""#, offset: 2, ..Message::default() }),
    );
    push_is(
        "chat:42",
        Push::Delta { publication: &publication, patch: Some(b"8\n8@0,abc;") },
        r#"{"push":{"channel":"chat:42","pub":{"data":"8\n8@0,abc;","offset":2,"delta":true}}}"#,
        Event::Publication(Message {
            data: br#""8\n8@0,abc;""#,
            offset: 2,
            delta: true,
            ..Message::default()
        }),
    );
    // No text, no string: then whole.
    let mut out = Vec::new();
    Encoding::Json.push("a", &Push::Delta { publication: &publication, patch: Some(b"\xff") }, &mut out);
    assert_eq!(out, br#"{"push":{"channel":"a","pub":{"data":"{\"a\":\n1}","offset":2}}}"#);
}

#[test]
fn a_subscription_with_delta_and_a_number() {
    let publications = [
        Publication { offset: 1, data: b"{}", ..Publication::default() },
        Publication { offset: 2, data: b"[]", ..Publication::default() },
    ];
    let patches = [None, Some(b"2\n2:[]0;".to_vec())];
    let subscribed = Subscribed {
        publications: &publications,
        patches: &patches,
        delta: true,
        number: 7,
        ..Subscribed::default()
    };
    reply_is(
        3,
        Reply::Subscribe(subscribed),
        r#"{"id":3,"subscribe":{"publications":[{"data":"{}","offset":1},{"data":"2\n2:[]0;","offset":2,"delta":true}],"delta":true,"id":7}}"#,
        Answer::Subscribe(Subscription {
            publications: vec![
                Message { data: br#""{}""#, offset: 1, ..Message::default() },
                Message { data: br#""2\n2:[]0;""#, offset: 2, delta: true, ..Message::default() },
            ],
            delta: true,
            number: 7,
            ..Subscription::default()
        }),
    );
}

#[test]
fn a_push_by_number() {
    let mut out = Vec::new();
    let publication = Publication { data: b"1", ..Publication::default() };
    Encoding::Json.push_by_number(7, &Push::Publication(&publication), &mut out);
    assert_eq!(out, br#"{"push":{"id":7,"pub":{"data":1}}}"#);
    let event = Event::Publication(Message { data: b"1", ..Message::default() });
    assert_eq!(
        received(r#"{"push":{"id":7,"pub":{"data":1}}}"#),
        Received::Push { channel: s(""), number: 7, event }
    );
}

/// The reply is written exactly so and read by a client as expected.
fn reply_is(id: u32, reply: Reply<'_>, line: &str, answer: Answer<'_>) {
    let mut out = Vec::new();
    Encoding::Json.reply(id, &reply, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), line);
    assert_eq!(received(line), Received::Reply { id, answer });
}

fn push_is(channel: &str, push: Push<'_>, line: &str, event: Event<'_>) {
    let mut out = Vec::new();
    Encoding::Json.push(channel, &push, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), line);
    assert_eq!(received(line), Received::Push { channel: s(channel), number: 0, event });
}

#[test]
fn connect() {
    command_is(
        r#"{"id":1,"connect":{"token":"<JWT>","name":"js"}}"#,
        1,
        Request::Connect(Connect { token: s("<JWT>"), name: s("js"), ..Connect::default() }),
    );
    let connected = Connected {
        client: CLIENT,
        version: "6.x.x",
        expiry: Expiry::Never,
        data: b"",
        subs: &[],
        ping_s: 25,
        pong: true,
        session: "",
        node: "",
    };
    let session =
        Session { client: s(CLIENT_TEXT), version: s("6.x.x"), ping_s: 25, pong: true, ..Session::default() };
    reply_is(
        1,
        Reply::Connect(connected),
        &format!(
            r#"{{"id":1,"connect":{{"client":"{CLIENT_TEXT}","version":"6.x.x","ping":25,"pong":true}}}}"#
        ),
        Answer::Connect(session.clone()),
    );
    let news = Subscribed {
        recoverable: true,
        epoch: "abcdEFGH",
        offset: 5,
        positioned: true,
        ..Subscribed::default()
    };
    reply_is(
        1,
        Reply::Connect(Connected {
            expiry: Expiry::Seconds(600),
            data: b"{}",
            subs: &[("news", news)],
            ..connected
        }),
        &format!(
            r#"{{"id":1,"connect":{{"client":"{CLIENT_TEXT}","version":"6.x.x","expires":true,"ttl":600,"data":{{}},"subs":{{"news":{{"recoverable":true,"epoch":"abcdEFGH","offset":5,"positioned":true}}}},"ping":25,"pong":true}}}}"#
        ),
        Answer::Connect(Session {
            expires: true,
            ttl_s: 600,
            data: b"{}",
            subs: vec![Subscription {
                channel: s("news"),
                recoverable: true,
                epoch: s("abcdEFGH"),
                offset: 5,
                positioned: true,
                ..Subscription::default()
            }],
            ..session.clone()
        }),
    );
    reply_is(
        1,
        Reply::Connect(Connected { session: "s1", node: "n1", ..connected }),
        &format!(
            r#"{{"id":1,"connect":{{"client":"{CLIENT_TEXT}","version":"6.x.x","ping":25,"pong":true,"session":"s1","node":"n1"}}}}"#
        ),
        Answer::Connect(Session { session: s("s1"), node: s("n1"), ..session }),
    );
}

#[test]
fn connect_with_positions_of_server_side_subscriptions() {
    let news = Resume { channel: s("news"), recover: true, offset: 5, epoch: s("abcd") };
    command_is(
        r#"{"id":1,"connect":{"data":{"k":1},"subs":{"news":{"recover":true,"epoch":"abcd","offset":5},"x":{}},"version":"2"}}"#,
        1,
        Request::Connect(Connect {
            data: br#"{"k":1}"#,
            version: s("2"),
            subs: vec![news, Resume { channel: s("x"), ..Resume::default() }],
            ..Connect::default()
        }),
    );
}

#[test]
fn subscribe() {
    command_is(
        r#"{"id":2,"subscribe":{"channel":"chat:42","flag":1}}"#,
        2,
        Request::Subscribe(Subscribe { channel: s("chat:42"), flag: 1, ..Subscribe::default() }),
    );
    reply_is(
        2,
        Reply::Subscribe(Subscribed {
            recoverable: true,
            epoch: "xAbCdEfG",
            offset: 14,
            positioned: true,
            ..Subscribed::default()
        }),
        r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"xAbCdEfG","offset":14,"positioned":true}}"#,
        Answer::Subscribe(Subscription {
            recoverable: true,
            epoch: s("xAbCdEfG"),
            offset: 14,
            positioned: true,
            ..Subscription::default()
        }),
    );
}

#[test]
fn subscribe_with_recovery() {
    let line = r#"{"id":3,"subscribe":{"channel":"chat:42","token":"<SUB JWT>","recover":true,"epoch":"xAbCdEfG","offset":14,"flag":1}}"#;
    let subscribe = Subscribe {
        channel: s("chat:42"),
        token: s("<SUB JWT>"),
        recover: true,
        epoch: s("xAbCdEfG"),
        offset: 14,
        flag: 1,
        ..Subscribe::default()
    };
    command_is(line, 3, Request::Subscribe(subscribe));
    let publications = [
        Publication { offset: 15, data: br#"{"t":"a"}"#, ..Publication::default() },
        Publication { offset: 16, data: br#"{"t":"b"}"#, ..Publication::default() },
    ];
    reply_is(
        3,
        Reply::Subscribe(Subscribed {
            recoverable: true,
            epoch: "xAbCdEfG",
            publications: &publications,
            recovered: true,
            offset: 14,
            positioned: true,
            was_recovering: true,
            ..Subscribed::default()
        }),
        r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"xAbCdEfG","publications":[{"data":{"t":"a"},"offset":15},{"data":{"t":"b"},"offset":16}],"recovered":true,"offset":14,"positioned":true,"was_recovering":true}}"#,
        Answer::Subscribe(Subscription {
            recoverable: true,
            epoch: s("xAbCdEfG"),
            publications: vec![
                Message { data: br#"{"t":"a"}"#, offset: 15, ..Message::default() },
                Message { data: br#"{"t":"b"}"#, offset: 16, ..Message::default() },
            ],
            recovered: true,
            offset: 14,
            positioned: true,
            was_recovering: true,
            ..Subscription::default()
        }),
    );
}

#[test]
fn publication_pushes() {
    push_is(
        "chat:42",
        Push::Publication(&Publication { offset: 15, data: br#"{"text":"hi"}"#, ..Publication::default() }),
        r#"{"push":{"channel":"chat:42","pub":{"data":{"text":"hi"},"offset":15}}}"#,
        Event::Publication(Message { data: br#"{"text":"hi"}"#, offset: 15, ..Message::default() }),
    );
    let info = ClientInfo { client: CLIENT, user: "42", conn_info: br#"{"name":"A"}"#, chan_info: b"" };
    push_is(
        "chat:42",
        Push::Publication(&Publication {
            offset: 16,
            data: br#"{"text":"hi"}"#,
            info: Some(info),
            ..Publication::default()
        }),
        &format!(
            r#"{{"push":{{"channel":"chat:42","pub":{{"data":{{"text":"hi"}},"info":{{"user":"42","client":"{CLIENT_TEXT}","conn_info":{{"name":"A"}}}},"offset":16}}}}}}"#
        ),
        Event::Publication(Message {
            data: br#"{"text":"hi"}"#,
            offset: 16,
            info: Some(Info {
                user: s("42"),
                client: s(CLIENT_TEXT),
                conn_info: br#"{"name":"A"}"#,
                chan_info: b"",
            }),
            ..Message::default()
        }),
    );
    // A channel without history numbers nothing.
    push_is(
        "cursors",
        Push::Publication(&Publication { offset: 0, data: b"[1,2]", ..Publication::default() }),
        r#"{"push":{"channel":"cursors","pub":{"data":[1,2]}}}"#,
        Event::Publication(Message { data: b"[1,2]", offset: 0, ..Message::default() }),
    );
}

#[test]
fn a_publication_with_tags_is_read() {
    let line = r#"{"push":{"channel":"chat:42","pub":{"data":{"text":"hi"},"info":{"user":"42","client":"9ac9"},"offset":16,"tags":{"k":"v"}}}}"#;
    let info = Info { user: s("42"), client: s("9ac9"), ..Info::default() };
    let tags = vec![(s("k"), s("v"))];
    let message =
        Message { data: br#"{"text":"hi"}"#, offset: 16, info: Some(info), tags, ..Message::default() };
    assert_eq!(
        received(line),
        Received::Push { channel: s("chat:42"), number: 0, event: Event::Publication(message) }
    );
}

#[test]
fn join_and_leave_always_name_user_and_client() {
    let info = ClientInfo { client: CLIENT, user: "", conn_info: b"", chan_info: b"1" };
    let heard = Info { client: s(CLIENT_TEXT), chan_info: b"1", ..Info::default() };
    push_is(
        "chat:42",
        Push::Join(&info),
        &format!(
            r#"{{"push":{{"channel":"chat:42","join":{{"info":{{"user":"","client":"{CLIENT_TEXT}","chan_info":1}}}}}}}}"#
        ),
        Event::Join(heard.clone()),
    );
    push_is(
        "chat:42",
        Push::Leave(&ClientInfo { chan_info: b"", user: "42", ..info }),
        &format!(
            r#"{{"push":{{"channel":"chat:42","leave":{{"info":{{"user":"42","client":"{CLIENT_TEXT}"}}}}}}}}"#
        ),
        Event::Leave(Info { chan_info: b"", user: s("42"), ..heard }),
    );
}

#[test]
fn other_pushes() {
    push_is(
        "test_channel",
        Push::Unsubscribe(code::UNSUBSCRIBED),
        r#"{"push":{"channel":"test_channel","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#,
        Event::Unsubscribe(Ended { code: 2000, reason: s("server unsubscribe") }),
    );
    push_is(
        "news",
        Push::Subscribe(Subscribed {
            recoverable: true,
            epoch: "e",
            offset: 3,
            positioned: true,
            ..Subscribed::default()
        }),
        r#"{"push":{"channel":"news","subscribe":{"recoverable":true,"epoch":"e","offset":3,"positioned":true}}}"#,
        Event::Subscribe(Subscription {
            recoverable: true,
            epoch: s("e"),
            offset: 3,
            positioned: true,
            ..Subscription::default()
        }),
    );
    push_is(
        "",
        Push::Message { data: b"{}" },
        r#"{"push":{"message":{"data":{}}}}"#,
        Event::Message { data: b"{}" },
    );
    push_is(
        "",
        Push::Refresh(Expiry::Seconds(300)),
        r#"{"push":{"refresh":{"expires":true,"ttl":300}}}"#,
        Event::Refresh(Refreshed { expires: true, ttl_s: 300, ..Refreshed::default() }),
    );
    push_is(
        "",
        Push::Disconnect { code: 3001, reason: "shutdown" },
        r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#,
        Event::Disconnect(Ended { code: 3001, reason: s("shutdown") }),
    );
    let line = r#"{"push":{"news":{}}}"#;
    assert_eq!(received(line), Received::Push { channel: s(""), number: 0, event: Event::Other });
}

#[test]
fn errors() {
    reply_is(
        2,
        Reply::Error(code::PERMISSION_DENIED),
        r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#,
        Answer::Error(Failure { code: 103, message: s("permission denied"), temporary: false }),
    );
    reply_is(
        2,
        Reply::Error(code::INTERNAL),
        r#"{"id":2,"error":{"code":100,"message":"internal server error","temporary":true}}"#,
        Answer::Error(Failure { code: 100, message: s("internal server error"), temporary: true }),
    );
}

#[test]
fn publish_and_unsubscribe() {
    command_is(
        r#"{"id":4,"publish":{"channel":"chat:42","data":{"text":"x"}}}"#,
        4,
        Request::Publish(Publish { channel: s("chat:42"), data: br#"{"text":"x"}"# }),
    );
    reply_is(4, Reply::Publish, r#"{"id":4,"publish":{}}"#, Answer::Publish);
    command_is(
        r#"{"id":5,"unsubscribe":{"channel":"chat:42"}}"#,
        5,
        Request::Unsubscribe { channel: s("chat:42") },
    );
    reply_is(5, Reply::Unsubscribe, r#"{"id":5,"unsubscribe":{}}"#, Answer::Unsubscribe);
}

#[test]
fn presence() {
    command_is(
        r#"{"id":6,"presence":{"channel":"chat:42"}}"#,
        6,
        Request::Presence { channel: s("chat:42") },
    );
    let info = ClientInfo { client: CLIENT, user: "42", conn_info: br#"{"name":"Alex"}"#, chan_info: b"" };
    reply_is(
        6,
        Reply::Presence(&[info]),
        &format!(
            r#"{{"id":6,"presence":{{"presence":{{"{CLIENT_TEXT}":{{"user":"42","client":"{CLIENT_TEXT}","conn_info":{{"name":"Alex"}}}}}}}}}}"#
        ),
        Answer::Presence(vec![Info {
            user: s("42"),
            client: s(CLIENT_TEXT),
            conn_info: br#"{"name":"Alex"}"#,
            chan_info: b"",
        }]),
    );
    reply_is(6, Reply::Presence(&[]), r#"{"id":6,"presence":{}}"#, Answer::Presence(vec![]));
    command_is(
        r#"{"id":7,"presence_stats":{"channel":"chat:42"}}"#,
        7,
        Request::PresenceStats { channel: s("chat:42") },
    );
    reply_is(
        7,
        Reply::PresenceStats { clients: 3, users: 2 },
        r#"{"id":7,"presence_stats":{"num_clients":3,"num_users":2}}"#,
        Answer::PresenceStats(Counts { clients: 3, users: 2 }),
    );
}

#[test]
fn history() {
    let history = History {
        channel: s("chat:42"),
        limit: 10,
        since: Some(Since { offset: 14, epoch: s("xAbCdEfG") }),
        reverse: false,
    };
    command_is(
        r#"{"id":8,"history":{"channel":"chat:42","limit":10,"since":{"offset":14,"epoch":"xAbCdEfG"}}}"#,
        8,
        Request::History(history.clone()),
    );
    let line = r#"{"id":8,"history":{"channel":"chat:42","limit":10,"since":{"offset":14,"epoch":"xAbCdEfG"},"reverse":false}}"#;
    assert_eq!(command(line), Ok(Command { id: 8, request: Request::History(history) }));
    let publications = [Publication { offset: 15, data: b"{}", ..Publication::default() }];
    reply_is(
        8,
        Reply::History { publications: &publications, epoch: "xAbCdEfG", offset: 16 },
        r#"{"id":8,"history":{"publications":[{"data":{},"offset":15}],"epoch":"xAbCdEfG","offset":16}}"#,
        Answer::History(Page {
            publications: vec![Message { data: b"{}", offset: 15, ..Message::default() }],
            epoch: s("xAbCdEfG"),
            offset: 16,
        }),
    );
}

#[test]
fn rpc_and_send() {
    command_is(
        r#"{"id":9,"rpc":{"method":"m","data":{}}}"#,
        9,
        Request::Rpc(Rpc { method: s("m"), data: b"{}" }),
    );
    reply_is(9, Reply::Rpc { data: b"{}" }, r#"{"id":9,"rpc":{"data":{}}}"#, Answer::Rpc { data: b"{}" });
    command_is(r#"{"send":{"data":{}}}"#, 0, Request::Send { data: b"{}" });
}

#[test]
fn refreshes() {
    command_is(r#"{"id":10,"refresh":{"token":"<JWT>"}}"#, 10, Request::Refresh { token: s("<JWT>") });
    reply_is(
        10,
        Reply::Refresh { client: CLIENT, version: "v", expiry: Expiry::Seconds(600) },
        &format!(
            r#"{{"id":10,"refresh":{{"client":"{CLIENT_TEXT}","version":"v","expires":true,"ttl":600}}}}"#
        ),
        Answer::Refresh(Refreshed { client: s(CLIENT_TEXT), version: s("v"), expires: true, ttl_s: 600 }),
    );
    command_is(
        r#"{"id":11,"sub_refresh":{"channel":"chat:42","token":"<JWT>"}}"#,
        11,
        Request::SubRefresh(SubRefresh { channel: s("chat:42"), token: s("<JWT>") }),
    );
    reply_is(
        11,
        Reply::SubRefresh { expiry: Expiry::Seconds(600) },
        r#"{"id":11,"sub_refresh":{"expires":true,"ttl":600}}"#,
        Answer::SubRefresh(Refreshed { expires: true, ttl_s: 600, ..Refreshed::default() }),
    );
}

#[test]
fn the_empty_document_is_ping_and_pong() {
    command_is("{}", 0, Request::Pong);
    assert_eq!(command("{ }"), Ok(Command { id: 0, request: Request::Pong }));
    assert_eq!(command(r#"{"id":0,"connect":null}"#), Ok(Command { id: 0, request: Request::Pong }));
    assert_eq!(received("{}"), Received::Ping);
    assert_eq!(received("{ }"), Received::Ping);
    assert_eq!(Encoding::Json.ping(), b"{}");
}

#[test]
fn several_commands_come_in_one_message() {
    let message = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\r\n\n{}\n";
    let ids: Vec<u32> = commands(message).into_iter().map(|command| command.unwrap().id).collect();
    assert_eq!(ids, [1, 2, 0]);
}

#[test]
fn nothing_follows_a_bad_command() {
    let all = commands("{}\nnot json\n{}");
    assert_eq!(all[1..], [Err(BadRequest::Malformed)]);
    assert_eq!(commands(""), [Err(BadRequest::Empty)]);
    assert_eq!(commands("\n \n"), [Err(BadRequest::Empty)]);
    assert_eq!(Encoding::Json.commands(b"\xff{}").collect::<Vec<_>>(), [Err(BadRequest::Malformed)]);
    assert_eq!(commands("{\"id\":1,\n\"connect\":{}}"), [Err(BadRequest::Malformed)]);
}

#[test]
fn commands_without_id_or_request_are_bad() {
    assert_eq!(command(r#"{"id":5}"#), Err(BadRequest::NoRequest));
    assert_eq!(command(r#"{"id":5,"unheard_of":{}}"#), Err(BadRequest::NoRequest));
    assert_eq!(command(r#"{"publish":{"channel":"a","data":1}}"#), Err(BadRequest::NoId));
    assert_eq!(command(r#"{"id":null,"rpc":{}}"#), Err(BadRequest::NoId));
}

#[test]
fn fields_of_the_wrong_kind_are_bad() {
    for line in [
        r#"{"id":-1,"rpc":{}}"#,
        r#"{"id":4294967296,"rpc":{}}"#,
        r#"{"id":1.5,"rpc":{}}"#,
        r#"{"id":"1","rpc":{}}"#,
        r#"{"id":1,"rpc":[]}"#,
        r#"{"id":1,"rpc":{"method":5}}"#,
        r#"{"id":1,"subscribe":{"recover":1}}"#,
        r#"{"id":1,"subscribe":{"offset":18446744073709551616}}"#,
        r#"{"id":1,"history":{"since":[]}}"#,
        r#"{"id":1,"publish":{"data":{"a":}}}"#,
        r#"{"id":1,"publish":{"data":tru}}"#,
        r#"{"id":1,"rpc":{}} {"id":2,"rpc":{}}"#,
        r#"{"id":1,"rpc":{}"#,
        r#"{"id":1,"rpc":{},}"#,
        "[]",
        "null",
        "5",
        r#""connect""#,
    ] {
        assert_eq!(command(line), Err(BadRequest::Malformed), "{line}");
    }
}

#[test]
fn numbers_keep_all_their_digits() {
    let line = r#"{"id":4294967295,"subscribe":{"channel":"a","offset":18446744073709551615}}"#;
    let subscribe = Subscribe { channel: s("a"), offset: u64::MAX, ..Subscribe::default() };
    command_is(line, u32::MAX, Request::Subscribe(subscribe));
}

#[test]
fn null_is_absent_and_the_last_of_equal_names_counts() {
    let line = r#"{"connect":null,"id":7,"id":null,"publish":{"channel":"a","channel":null,"data":1,"channel":"b"},"rpc":null}"#;
    assert_eq!(
        command(line),
        Ok(Command { id: 7, request: Request::Publish(Publish { channel: s("b"), data: b"1" }) })
    );
}

#[test]
fn null_is_a_payload_but_no_filter() {
    let publish = Publish { channel: s("a"), data: b"null" };
    command_is(r#"{"id":7,"publish":{"channel":"a","data":null}}"#, 7, Request::Publish(publish));
    let subscribe = Subscribe { channel: s("a"), ..Subscribe::default() };
    let line = r#"{"id":7,"subscribe":{"channel":"a","tf":null}}"#;
    assert_eq!(command(line), Ok(Command { id: 7, request: Request::Subscribe(subscribe.clone()) }));
    let line = r#"{"id":7,"subscribe":{"channel":"a","tf":{"op":""}}}"#;
    command_is(line, 7, Request::Subscribe(Subscribe { filter: br#"{"op":""}"#, ..subscribe }));
    assert_eq!(command(r#"{"id":7,"subscribe":{"channel":"a","tf":5}}"#), Err(BadRequest::Malformed));
}

#[test]
fn the_first_request_in_the_protocols_order_counts() {
    let line = r#"{"id":1,"rpc":{},"publish":{"channel":"a"},"history":{}}"#;
    let publish = Publish { channel: s("a"), data: b"" };
    assert_eq!(command(line), Ok(Command { id: 1, request: Request::Publish(publish) }));
}

#[test]
fn unknown_members_are_skipped_at_every_level() {
    let line = r#"{"new":[{"a":[1]}],"id":1,"connect":{"headers":{"a":"b"},"flag":3,"name":"go","subs":{"a":null,"b":{"new":1}}}}"#;
    let connect = Connect {
        name: s("go"),
        subs: vec![Resume { channel: s("b"), ..Resume::default() }],
        ..Connect::default()
    };
    assert_eq!(command(line), Ok(Command { id: 1, request: Request::Connect(connect) }));
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let Ok(Command { request: Request::Publish(publish), .. }) =
        command(r#"{"id":1,"publish":{"channel":"a","data":"x"}}"#)
    else {
        panic!("a publish")
    };
    assert!(matches!(publish.channel, Cow::Borrowed("a")));
    assert_eq!(publish.data, br#""x""#);
    let line = r#"{"id":1,"publish":{"channel":"a\u003ab\"","d\u0061ta":{"k":"\n"}}}"#;
    let publish = Publish { channel: s("a:b\""), data: br#"{"k":"\n"}"# };
    assert_eq!(command(line), Ok(Command { id: 1, request: Request::Publish(publish) }));
}

#[test]
fn a_payload_that_is_nested_too_deeply_is_refused() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!(
            r#"{{"id":1,"publish":{{"channel":"a","data":{}1{}}}}}"#,
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    assert!(command(&nested("[", "]", 126)).is_ok());
    assert_eq!(command(&nested("[", "]", 127)), Err(BadRequest::Deep));
    assert_eq!(command(&nested("{\"a\":", "}", 20_000)), Err(BadRequest::Deep));
    assert_eq!(command(&"[".repeat(60_000)), Err(BadRequest::Deep));
    assert_eq!(command(&"{\"connect\":".repeat(6_000)), Err(BadRequest::Deep));
}

#[test]
fn a_payload_with_raw_newlines_still_makes_one_line() {
    let mut out = Vec::new();
    let pretty = b"{\n  \"text\": \"a\\nb\"\n}\n";
    Encoding::Json.push(
        "a",
        &Push::Publication(&Publication { offset: 1, data: pretty, ..Publication::default() }),
        &mut out,
    );
    let line = std::str::from_utf8(&out).unwrap();
    assert_eq!(line, r#"{"push":{"channel":"a","pub":{"data":{  "text": "a\nb"},"offset":1}}}"#);
    let Received::Push { event: Event::Publication(message), .. } = received(line) else {
        panic!("a publication")
    };
    assert_eq!(message.data, br#"{  "text": "a\nb"}"#);
}

#[test]
fn the_quick_look_at_a_push_leaves_the_unusual_to_the_full_reader() {
    let publication = |data: &'static str, offset| {
        let message = Message { data: data.as_bytes(), offset, ..Message::default() };
        Received::Push { channel: s("a"), number: 0, event: Event::Publication(message) }
    };
    for (line, expected) in [
        (r#"{"push":{"channel":"a","pub":{"data":"}\"]","offset":2}}}"#, publication(r#""}\"]""#, 2)),
        (r#"{"push":{"channel":"a","pub":{"data":-1.5e3,"offset":2}}}"#, publication("-1.5e3", 2)),
        (r#"{"push":{"channel":"a","pub":{"data":true}}}"#, publication("true", 0)),
        (r#"{"push":{"channel":"a","pub":{"data":null,"offset":1}}}"#, publication("null", 1)),
        (r#"{"push":{"channel":"a","pub":{"data":{"offset":5}}}}"#, publication(r#"{"offset":5}"#, 0)),
        (r#"{"push":{"channel":"a","pub":{"offset":5,"data":[[]]}}}"#, publication("[[]]", 5)),
        (r#"{"push":{"channel":"a","pub":{"data": 1,"offset":5}}}"#, publication("1", 5)),
        (r#"{"push":{"channel":"\u0061","pub":{"data":1,"offset":5}}}"#, publication("1", 5)),
        (r#"{"push":{"pub":{"data":1},"channel":"a"}}"#, publication("1", 0)),
    ] {
        assert_eq!(received(line), expected, "{line}");
    }
    for line in [
        r#"{"push":{"channel":"a","pub":{"data":}}}"#,
        r#"{"push":{"channel":"a","pub":{"data":1"#,
        r#"{"push":{"channel":"a","pub":{"data":{"a":1}}}"#,
        r#"{"push":{"channel":"a","pub":{"data":1,"offset":99999999999999999999}}}"#,
        r#"{"push":{"channel":"a","pub":{"data":"1\}}}"#,
    ] {
        assert!(Encoding::Json.received(line.as_bytes()).next().unwrap().is_err(), "{line}");
    }
}

#[test]
fn a_client_survives_whatever_a_server_nests() {
    let nested = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    for line in [
        format!(r#"{{"push":{{"channel":"a","pub":{{"data":{nested},"offset":1}}}}}}"#),
        format!(r#"{{"push":{{"pub":{{"data":{nested},"new":{nested}}},"channel":"a"}}}}"#),
    ] {
        let Received::Push { event: Event::Publication(message), .. } = received(&line) else {
            panic!("a publication")
        };
        assert_eq!(message.data.len(), nested.len());
    }
    assert!(Encoding::Json.received("{\"push\":".repeat(100_000).as_bytes()).next().unwrap().is_err());
}
