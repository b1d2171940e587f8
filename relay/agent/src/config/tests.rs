mod documented;
mod proxy;
mod redis;

use std::time::Duration;

use wire::settings;

use super::*;

fn checked(text: &str) -> Checked {
    read("relay.toml", text, []).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str) -> String {
    read("relay.toml", text, []).unwrap_err().to_string()
}

#[test]
fn an_empty_file_gives_the_defaults_of_the_ecosystem() {
    let checked = checked("");
    assert_eq!(checked.settings.client, settings::ClientOptions::default());
    assert_eq!(checked.limits, relay::Limits::default());
    let tokens = &checked.settings.tokens;
    assert!(!tokens.hmac && tokens.jwks.is_empty() && !tokens.fetched);
    assert_eq!(checked.settings.boundaries, Boundaries::default());
    let day = 24 * 3600 * 1000;
    assert_eq!(checked.settings.default_namespace.history_meta_ttl_ms, 30 * day);
}

#[test]
fn the_documented_default_file_is_the_default() {
    let config = load::<Config>("relay.toml", &document(), PREFIX, []).unwrap().value;
    assert_eq!(config, Config::default());
    checked(&document());
}

#[test]
fn every_option_of_a_namespace_reaches_the_gateways() {
    let text = "[[channel.namespaces]]\nname = \"b\"\n[[channel.namespaces]]\nname = \"a\"\nhistory_size = 10\n\
                history_ttl = \"5m\"\nhistory_meta_ttl = \"1h\"\nforce_recovery = true\nforce_positioning = true\n\
                allow_recovery = true\nallow_positioning = true\npresence = true\njoin_leave = true\n\
                force_push_join_leave = true\nallow_subscribe_for_client = true\n\
                allow_subscribe_for_anonymous = true\nallow_publish_for_client = true\n\
                allow_publish_for_subscriber = true\nallow_publish_for_anonymous = true\n\
                allow_history_for_client = true\nallow_history_for_subscriber = true\n\
                allow_history_for_anonymous = true\nallow_presence_for_client = true\n\
                allow_presence_for_subscriber = true\nallow_presence_for_anonymous = true\n\
                force_recovery_mode = \"cache\"\nauto_cache_recover = true\nallowed_delta_types = [\"fossil\"]\n\
                delta_publish = true\nallow_tags_filter = true\nallow_channel_compaction = true\n\
                publication_data_format = \"json_object\"\n\
                allow_user_limited_channels = true\nchannel_regex = \"^[0-9]+$\"\n";
    let settings = checked(text).settings;
    let names: Vec<&str> = settings.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["a", "b"], "sorted, as they are searched");
    let shown = format!("{:?}", settings.namespaces[0]);
    assert_eq!(shown.matches("true").count(), 24, "{shown}");
    assert!(shown.contains("Cache") && shown.contains("JsonObject"), "{shown}");
    assert_eq!(settings.namespace("a:1").unwrap().history_ttl_ms, 300_000);
    assert_eq!(settings.namespace("a:1").unwrap().history_meta_ttl_ms, 3_600_000);
}

#[test]
fn misspelt_keys_are_refused_with_the_nearest_name() {
    assert_eq!(
        refusal("\n[[channel.namespaces]]\nname = \"chat\"\nhistroy_size = 10\n"),
        "relay.toml:4: unknown key 'histroy_size' in [[channel.namespaces]]; did you mean 'history_size'?"
    );
    assert_eq!(
        refusal("[client]\nping_intervall = \"1s\"\n"),
        "relay.toml:2: unknown key 'ping_intervall' in [client]; did you mean 'ping_interval'?"
    );
}

#[test]
fn values_that_do_not_fit_each_other_are_refused_by_key_and_line() {
    assert_eq!(
        refusal("[[channel.namespaces]]\nname = \"chat\"\nhistory_size = 10\n"),
        "relay.toml:3: 'history_size' in [[channel.namespaces]]: needs history_ttl"
    );
    assert_eq!(
        refusal("[channel.without_namespace]\nforce_recovery = true\n"),
        "relay.toml:2: 'force_recovery' in [channel.without_namespace]: needs history_size and history_ttl"
    );
    assert_eq!(
        refusal("[channel.without_namespace]\nauto_cache_recover = true\n"),
        "relay.toml:2: 'auto_cache_recover' in [channel.without_namespace]: \
         needs force_recovery and force_recovery_mode = \"cache\""
    );
    assert_eq!(
        refusal("[channel.without_namespace]\npublication_data_format = \"xml\"\n"),
        "relay.toml:2: 'publication_data_format' in [channel.without_namespace]: found the text \"xml\", \
         expected one of \"\" \"json\" \"json_object\" \"binary\""
    );
    assert_eq!(
        refusal("[client]\nping_interval = \"5s\"\npong_timeout = \"5s\"\n"),
        "relay.toml:3: 'pong_timeout' in [client]: must be above 0s and below ping_interval"
    );
    assert_eq!(
        refusal("[[channel.namespaces]]\nname = \"a\"\n[[channel.namespaces]]\nname = \"a\"\n"),
        "relay.toml:4: 'name' in [[channel.namespaces]]: \"a\" is already the name of another namespace"
    );
    assert_eq!(
        refusal("[[channel.namespaces]]\nname = \"a:b\"\n"),
        "relay.toml:2: 'name' in [[channel.namespaces]]: found \"a:b\", expected letters, digits, '-', '_' and '.'"
    );
    assert_eq!(
        refusal("[client]\nchannel_limit = 0\n"),
        "relay.toml:2: 'channel_limit' in [client]: found 0, expected 1 to 65535"
    );
    assert_eq!(
        refusal("[[tls.certificates]]\ncertificate = \"a.pem\"\n"),
        "relay.toml:1: 'key' in [[tls.certificates]]: is missing: name a PEM file"
    );
}

#[test]
fn a_public_address_is_refused_unless_it_is_meant() {
    assert_eq!(
        refusal("[http]\naddress = \"203.0.113.7:9000\"\n"),
        "relay.toml:2: 'address' in [http]: 203.0.113.7 is a public address and metrics are for the private side: \
         use a loopback or private one, or set allow_public_address = true"
    );
    checked("[http]\naddress = \"203.0.113.7:9000\"\nallow_public_address = true\n");
}

#[test]
fn private_addresses_are_known() {
    let all = |texts: &[&str]| texts.iter().map(|text| private(text.parse().unwrap())).collect::<Vec<_>>();
    let inside = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1"];
    assert_eq!(all(&inside), [true; 6]);
    assert_eq!(all(&["::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"]), [true; 4]);
    assert_eq!(all(&["0.0.0.0", "8.8.8.8", "172.32.0.1", "100.128.0.1", "::", "2001:db8::1"]), [false; 6]);
}

#[test]
fn secrets_come_from_the_environment_and_are_never_shown() {
    let name = "HEADLAND_RELAY_CLIENT_TOKEN_HMAC_SECRET_KEY".to_owned();
    let checked = read("relay.toml", "", [(name, "hunter2".to_owned())]).unwrap();
    assert!(checked.settings.tokens.hmac);
    assert_eq!(checked.config.client.token.secrets().next().unwrap().0.bytes(), b"hunter2");
    assert!(!format!("{checked:?}").contains("hunter2"));
    assert!(!refusal("[client.token]\nhmac_secret_key = 424242\n").contains("424242"));
}

#[test]
fn public_keys_are_handed_on_and_private_ones_refused() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let quoted = |pem: &str| format!("[client.token]\necdsa_public_key = '''\n{pem}'''\n");
    let settings = checked(&quoted(&pair.public_key_pem())).settings;
    assert!(settings.tokens.jwks.contains("\"P-256\"") && !settings.tokens.hmac);
    assert_eq!(
        refusal(&quoted(&pair.serialize_pem())),
        "relay.toml:2: 'ecdsa_public_key' in [client.token]: is a private key: only the public one belongs here"
    );
    assert_eq!(
        refusal("[client.token]\njwks_file = \"/nonexistent/keys.json\"\n"),
        "relay.toml:2: 'jwks_file' in [client.token]: /nonexistent/keys.json: there is no such file"
    );
}

#[test]
fn durations_are_texts() {
    assert_eq!(
        checked("[client]\nping_interval = \"40s\"\n").config.client.ping_interval,
        Duration::from_secs(40)
    );
    assert_eq!(
        refusal("[client]\nping_interval = 40\n"),
        "relay.toml:2: 'ping_interval' in [client]: found the number 40, \
         expected a duration such as \"25s\", \"5m\" or \"100ms\""
    );
}

#[test]
fn marks_that_contain_each_other_or_are_missing_are_refused() {
    assert_eq!(
        refusal("[channel]\nuser_boundary = \"::\"\n"),
        "relay.toml:2: 'user_boundary' in [channel]: and namespace_boundary contain each other"
    );
    assert!(
        refusal("[channel]\nnamespace_boundary = \"\"\n[[channel.namespaces]]\nname = \"a\"\n")
            .contains("is empty")
    );
    let marks = checked("[channel]\nnamespace_boundary = \"/\"\nprivate_prefix = \"\"\n").settings.boundaries;
    assert_eq!((marks.namespace.as_str(), marks.private.as_str()), ("/", ""));
}

#[test]
fn a_personal_channel_needs_its_namespace_and_a_single_connection_needs_the_channel() {
    let table = "[client.subscribe_to_user_personal_channel]\n";
    assert!(refusal(&format!("{table}single_connection = true\n")).contains("needs enabled"));
    let own = format!("{table}enabled = true\npersonal_channel_namespace = \"own\"\n");
    assert!(refusal(&own).contains("\"own\" is not the name of a namespace"));
    let client = checked(&format!("{own}[[channel.namespaces]]\nname = \"own\"\n")).settings.client;
    assert_eq!(client.personal_channel.as_deref(), Some("own"));
    assert_eq!(
        checked(&format!("{table}enabled = true\n")).settings.client.personal_channel.as_deref(),
        Some("")
    );
}

#[test]
fn patterns_are_compiled_when_they_are_read() {
    assert!(
        refusal("[channel.without_namespace]\nchannel_regex = \"(\"\n")
            .contains("is not a regular expression")
    );
    assert!(refusal("[client.token]\naudience_regex = \"[\"\n").contains("is not a regular expression"));
    assert!(
        refusal("[client.token]\nissuer = \"a\"\nissuer_regex = \"b\"\n").contains("together with issuer")
    );
    let tokens = checked("[client.token]\naudience = \"edge\"\n").settings.tokens;
    assert_eq!(tokens.audience, settings::Expected::Exactly("edge".to_owned()));
}

#[test]
fn subscription_tokens_have_keys_of_their_own_only_when_that_is_turned_on() {
    let own = "hmac_secret_key = \"b\"\njwks_public_endpoint = \"http://127.0.0.1:1/\"\n";
    let off = checked(&format!("[client.subscription_token]\n{own}"));
    assert!(off.settings.subscription_tokens.is_none() && off.endpoints[1].is_none());
    let on = checked(&format!("[client.subscription_token]\nenabled = true\n{own}"));
    let tokens = on.settings.subscription_tokens.unwrap();
    assert!(tokens.hmac && tokens.fetched && on.endpoints[1].is_some() && !on.settings.tokens.fetched);
}
