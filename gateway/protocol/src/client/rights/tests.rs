use std::borrow::Cow;

use wire::settings::DataFormat;

use super::*;

const USER: Caller<'_> = Caller { user: "42", subscribed: false };
const SUBSCRIBER: Caller<'_> = Caller { user: "42", subscribed: true };
const ANONYMOUS: Caller<'_> = Caller { user: "", subscribed: false };
const ANONYMOUS_SUBSCRIBER: Caller<'_> = Caller { user: "", subscribed: true };

/// Without a token.
fn subscribe(settings: &Settings, caller: Caller<'_>, asked: &Subscribe<'_>) -> Result<Granted, ErrorCode> {
    super::subscribe(settings, caller, asked, Grant::Options)
}

/// Settings with one namespace, `chat`.
fn world(mut chat: Namespace) -> Settings {
    chat.name = "chat".into();
    Settings { namespaces: vec![chat], ..Settings::default() }
}

fn insecure(chat: Namespace) -> Settings {
    let client = ClientOptions { insecure: true, ..ClientOptions::default() };
    Settings { client, ..world(chat) }
}

fn channel(name: &str) -> Subscribe<'_> {
    Subscribe { channel: Cow::Borrowed(name), ..Subscribe::default() }
}

fn asking_for_all() -> Subscribe<'static> {
    Subscribe { positioned: true, recoverable: true, join_leave: true, ..channel("chat:1") }
}

fn with_history() -> Namespace {
    Namespace {
        history_size: 10,
        history_ttl_ms: 1000,
        allow_subscribe_for_client: true,
        ..Namespace::default()
    }
}

#[test]
fn nothing_is_allowed_that_no_option_allows() {
    let settings = world(Namespace {
        history_size: 1,
        history_ttl_ms: 1,
        presence: true,
        allow_subscribe_for_anonymous: true,
        allow_publish_for_anonymous: true,
        allow_history_for_anonymous: true,
        allow_presence_for_anonymous: true,
        ..Namespace::default()
    });
    for caller in [USER, SUBSCRIBER, ANONYMOUS, ANONYMOUS_SUBSCRIBER] {
        assert_eq!(subscribe(&settings, caller, &channel("chat:1")), Err(code::PERMISSION_DENIED));
        assert_eq!(publish(&settings, caller, "chat:1"), Err(code::PERMISSION_DENIED));
        assert_eq!(history(&settings, caller, "chat:1"), Err(code::PERMISSION_DENIED));
        assert_eq!(presence(&settings, caller, "chat:1"), Err(code::PERMISSION_DENIED));
    }
}

#[test]
fn clients_may_what_is_allowed_for_clients_and_anonymous_ones_only_with_their_own_option() {
    let mut chat = Namespace {
        allow_subscribe_for_client: true,
        allow_publish_for_client: true,
        ..Namespace::default()
    };
    let settings = world(chat.clone());
    assert!(subscribe(&settings, USER, &channel("chat:1")).is_ok());
    assert_eq!(subscribe(&settings, ANONYMOUS, &channel("chat:1")), Err(code::PERMISSION_DENIED));
    assert_eq!(publish(&settings, USER, "chat:1"), Ok(()));
    assert_eq!(publish(&settings, ANONYMOUS, "chat:1"), Err(code::PERMISSION_DENIED));
    chat.allow_subscribe_for_anonymous = true;
    chat.allow_publish_for_anonymous = true;
    let settings = world(chat);
    assert!(subscribe(&settings, ANONYMOUS, &channel("chat:1")).is_ok());
    assert_eq!(publish(&settings, ANONYMOUS, "chat:1"), Ok(()));
}

#[test]
fn subscribers_may_what_is_allowed_for_subscribers() {
    let chat = Namespace {
        presence: true,
        allow_publish_for_subscriber: true,
        allow_history_for_subscriber: true,
        allow_presence_for_subscriber: true,
        ..with_history()
    };
    let settings = world(chat.clone());
    for act in [publish, history, presence] {
        assert_eq!(act(&settings, SUBSCRIBER, "chat:1"), Ok(()));
        assert_eq!(act(&settings, USER, "chat:1"), Err(code::PERMISSION_DENIED));
        assert_eq!(act(&settings, ANONYMOUS_SUBSCRIBER, "chat:1"), Err(code::PERMISSION_DENIED));
    }
    let settings = world(Namespace {
        allow_publish_for_anonymous: true,
        allow_history_for_anonymous: true,
        allow_presence_for_anonymous: true,
        ..chat
    });
    for act in [publish, history, presence] {
        assert_eq!(act(&settings, ANONYMOUS_SUBSCRIBER, "chat:1"), Ok(()));
        assert_eq!(act(&settings, ANONYMOUS, "chat:1"), Err(code::PERMISSION_DENIED));
    }
}

#[test]
fn what_a_channel_does_not_keep_is_not_available_whoever_asks() {
    let settings = insecure(Namespace { history_size: 10, ..Namespace::default() });
    assert_eq!(history(&settings, SUBSCRIBER, "chat:1"), Err(code::NOT_AVAILABLE));
    assert_eq!(presence(&settings, SUBSCRIBER, "chat:1"), Err(code::NOT_AVAILABLE));
}

#[test]
fn insecure_permits_everything_to_everybody() {
    let settings =
        insecure(Namespace { history_size: 1, history_ttl_ms: 1, presence: true, ..Namespace::default() });
    assert!(subscribe(&settings, ANONYMOUS, &channel("chat:1")).is_ok());
    for act in [publish, history, presence] {
        assert_eq!(act(&settings, ANONYMOUS, "chat:1"), Ok(()));
    }
    assert!(connect_anonymously(&settings.client));
    assert!(!connect_anonymously(&ClientOptions::default()));
    let open = ClientOptions { allow_anonymous_connect_without_token: true, ..ClientOptions::default() };
    assert!(connect_anonymously(&open));
}

#[test]
fn names_are_refused_with_the_code_that_says_why() {
    let settings = insecure(Namespace::default());
    let long = "a".repeat(256);
    for (name, error) in [
        ("", code::BAD_REQUEST),
        ("größe", code::BAD_REQUEST),
        ("a\nb", code::BAD_REQUEST),
        (&long, code::LIMIT_EXCEEDED),
        ("game:1", code::UNKNOWN_CHANNEL),
    ] {
        assert_eq!(subscribe(&settings, USER, &channel(name)), Err(error), "{name}");
        assert_eq!(publish(&settings, USER, name), Err(error), "{name}");
        assert_eq!(history(&settings, USER, name), Err(error), "{name}");
        assert_eq!(presence(&settings, USER, name), Err(error), "{name}");
    }
    assert!(subscribe(&settings, USER, &channel(&long[1..])).is_ok());
    assert!(subscribe(&settings, USER, &channel("bare")).is_ok());
}

#[test]
fn private_channels_and_kinds_of_subscription_that_do_not_exist_are_refused() {
    let settings = insecure(Namespace::default());
    assert_eq!(subscribe(&settings, USER, &channel("$secret")), Err(code::PERMISSION_DENIED));
    let map = Subscribe { kind: 1, ..channel("chat:1") };
    assert_eq!(subscribe(&settings, USER, &map), Err(code::NOT_AVAILABLE));
    let filtered = Subscribe { filter: b"{}", ..channel("chat:1") };
    assert_eq!(subscribe(&settings, USER, &filtered), Err(code::BAD_REQUEST));
}

#[test]
fn a_subscription_gets_nothing_it_neither_asks_for_nor_is_forced_on() {
    let settings = world(Namespace {
        allow_recovery: true,
        allow_positioning: true,
        allow_history_for_client: true,
        allow_presence_for_client: true,
        ..with_history()
    });
    assert_eq!(subscribe(&settings, USER, &channel("chat:1")), Ok(Granted::default()));
}

#[test]
fn recovery_implies_positioning() {
    let forced = world(Namespace { force_recovery: true, ..with_history() });
    let granted = Granted { recoverable: true, positioned: true, ..Granted::default() };
    assert_eq!(subscribe(&forced, USER, &channel("chat:1")), Ok(granted));
    let allowed = world(Namespace { allow_recovery: true, ..with_history() });
    let asked = Subscribe { recoverable: true, ..channel("chat:1") };
    assert_eq!(subscribe(&allowed, USER, &asked), Ok(granted));
    let positioned = world(Namespace { force_positioning: true, ..with_history() });
    let granted = Granted { positioned: true, ..Granted::default() };
    assert_eq!(subscribe(&positioned, USER, &channel("chat:1")), Ok(granted));
}

#[test]
fn asking_needs_the_option_or_the_right_to_read_as_a_subscriber() {
    let plain = Namespace { presence: true, join_leave: true, ..with_history() };
    let granted = subscribe(&world(plain.clone()), USER, &asking_for_all()).unwrap();
    assert_eq!(granted, Granted::default());
    let reading = Namespace {
        allow_history_for_subscriber: true,
        allow_presence_for_subscriber: true,
        allow_subscribe_for_anonymous: true,
        ..plain
    };
    let everything = Granted { recoverable: true, positioned: true, join_leave: true, ..Granted::default() };
    assert_eq!(subscribe(&world(reading.clone()), USER, &asking_for_all()), Ok(everything));
    let granted = subscribe(&world(reading), ANONYMOUS, &asking_for_all()).unwrap();
    assert_eq!(granted, Granted::default());
}

#[test]
fn without_history_there_is_no_position() {
    let settings = world(Namespace {
        history_size: 0,
        force_recovery: true,
        force_positioning: true,
        allow_history_for_client: true,
        ..with_history()
    });
    assert_eq!(subscribe(&settings, USER, &asking_for_all()), Ok(Granted::default()));
}

#[test]
fn join_and_leave_are_pushed_only_where_they_are_made() {
    let forced = Namespace { force_push_join_leave: true, ..with_history() };
    assert_eq!(subscribe(&world(forced.clone()), USER, &channel("chat:1")), Ok(Granted::default()));
    let made = Namespace { join_leave: true, ..forced };
    let granted = Granted { join_leave: true, ..Granted::default() };
    assert_eq!(subscribe(&world(made), USER, &channel("chat:1")), Ok(granted));
    let present = Namespace { presence: true, ..with_history() };
    assert_eq!(subscribe(&world(present), USER, &channel("chat:1")), Ok(Granted::default()));
}

#[test]
fn a_subscription_appears_as_its_token_says_or_else_as_the_namespace_does() {
    let seen = Appearance { seen: true, announced: false };
    let announced = Appearance { seen: false, announced: true };
    let settings = world(Namespace { presence: true, ..Namespace::default() });
    assert_eq!(appearance(&settings, "chat:1", &Overrides::default()), seen);
    let overrides = Overrides { presence: Some(false), join_leave: Some(true), ..Overrides::default() };
    assert_eq!(appearance(&settings, "chat:1", &overrides), announced);
    let settings = world(Namespace { join_leave: true, ..Namespace::default() });
    assert_eq!(appearance(&settings, "chat:1", &Overrides::default()), announced);
    // A namespace that has gone.
    assert_eq!(appearance(&settings, "other:1", &Overrides::default()), Appearance::default());
    assert_eq!(appearance(&settings, "other:1", &overrides), announced);
}

#[test]
fn publications_are_what_their_namespace_says() {
    let mut settings = world(Namespace { allow_publish_for_client: true, ..Namespace::default() });
    let mut published = |format, data: &[u8]| {
        settings.namespaces[0].publication_data_format = format;
        publication(&settings, "chat:1", data)
    };
    assert_eq!(published(DataFormat::Any, b""), Err(code::BAD_REQUEST));
    assert_eq!(published(DataFormat::JsonObject, b"[]"), Err(code::BAD_REQUEST));
    assert_eq!(published(DataFormat::JsonObject, b"{}"), Ok(()));
    assert_eq!(published(DataFormat::Binary, b""), Ok(()));
}

#[test]
fn a_user_limited_channel_is_for_those_it_names_where_the_namespace_has_such_channels() {
    let chat = Namespace {
        allow_user_limited_channels: true,
        allow_subscribe_for_client: true,
        ..Namespace::default()
    };
    let settings = world(chat.clone());
    assert!(subscribe(&settings, USER, &channel("chat:d#42,43")).is_ok());
    for (caller, name) in
        [(USER, "chat:d#43"), (USER, "chat:d#"), (ANONYMOUS, "chat:d#"), (USER, "$chat:d#42")]
    {
        assert_eq!(subscribe(&settings, caller, &channel(name)), Err(code::PERMISSION_DENIED), "{name}");
    }
    let without = world(Namespace { allow_user_limited_channels: false, ..chat.clone() });
    assert!(subscribe(&without, USER, &channel("chat:d#43")).is_ok(), "a name like any other");
    let closed = world(Namespace { allow_subscribe_for_client: false, ..chat });
    assert!(subscribe(&closed, USER, &channel("chat:d#42")).is_ok(), "the name is what allows it");
}

#[test]
fn a_token_opens_what_no_option_does_and_says_what_is_different() {
    let settings = world(Namespace { presence: true, ..with_history() });
    let overrides = Overrides {
        presence: Some(false),
        join_leave: Some(true),
        force_push_join_leave: Some(true),
        force_recovery: Some(true),
        ..Overrides::default()
    };
    let granted = super::subscribe(&settings, ANONYMOUS, &channel("$chat:1"), Grant::Token(&overrides));
    let expected = Granted { recoverable: true, positioned: true, join_leave: true, ..Granted::default() };
    assert_eq!(granted, Ok(expected));
    let plain = super::subscribe(&settings, USER, &channel("chat:1"), Grant::Token(&Overrides::default()));
    assert_eq!(plain, Ok(Granted::default()));
    let unknown = super::subscribe(&settings, USER, &channel("other:1"), Grant::Token(&overrides));
    assert_eq!(unknown, Err(code::UNKNOWN_CHANNEL));
}

#[test]
fn a_pattern_of_the_namespace_decides_which_names_there_are() {
    let chat = Namespace {
        channel_regex: Some(wire::pattern::Pattern::new("^[0-9]+$").unwrap()),
        allow_subscribe_for_client: true,
        allow_publish_for_client: true,
        ..Namespace::default()
    };
    let settings = world(chat);
    assert!(subscribe(&settings, USER, &channel("chat:42")).is_ok());
    assert_eq!(subscribe(&settings, USER, &channel("chat:x")), Err(code::BAD_REQUEST));
    assert_eq!(publish(&settings, USER, "chat:x"), Err(code::BAD_REQUEST));
}
