use std::time::Duration;

use super::*;

crate::config_table! {
    /// Channels.
    struct Namespace {
        /// The part before the colon.
        name: String = String::new(),
        /// Publications kept.
        history_size: u32 = 0,
        /// How long.
        history_ttl: Duration = Duration::ZERO,
    }
}

crate::config_table! {
    /// Tokens.
    struct Token {
        /// The shared secret.
        hmac_secret_key: Option<String> = None,
    }
}

crate::config_table! {
    /// Clients.
    struct Client {
        /// How often the server pings.
        /// 0s never does.
        ping_interval: Duration = Duration::from_secs(25),
        /// Everyone may do everything.
        insecure: bool = false,
        /// Tokens.
        token: Token = Token::default(),
        /// Allowed origins.
        origins: Vec<String> = vec!["*".to_owned()],
    }
}

crate::config_table! {
    /// All.
    struct Whole {
        /// Clients.
        client: Client = Client::default(),
        /// Channels by name.
        namespaces: Vec<Namespace> = Vec::new(),
    }
}

fn read(text: &str) -> Result<Loaded<Whole>, String> {
    read_with(text, &[])
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded<Whole>, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load("relay.toml", text, "HEADLAND_RELAY_", variables).map_err(|error| error.to_string())
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(read("").unwrap().value, Whole::default());
}

#[test]
fn values_of_every_kind_are_read() {
    let text = "[client]\nping_interval = \"1m 30s\"\ninsecure = true\norigins = []\ntoken.hmac_secret_key = \"s\"\n\
                [[namespaces]]\nname = \"chat\"\nhistory_size = 0x10\n[[namespaces]]\nname = \"live\"\n";
    let whole = read(text).unwrap().value;
    assert_eq!(whole.client.ping_interval, Duration::from_secs(90));
    assert!(whole.client.insecure && whole.client.origins.is_empty());
    assert_eq!(whole.client.token.hmac_secret_key.as_deref(), Some("s"));
    assert_eq!(whole.namespaces[0].history_size, 16);
    assert_eq!(whole.namespaces[1].name, "live");
}

#[test]
fn a_misspelt_key_is_refused_with_its_line_and_the_nearest_name() {
    assert_eq!(
        refusal("[client]\ninsecure = true\n\n[[namespaces]]\nname = \"chat\"\nhistroy_size = 10\n"),
        "relay.toml:6: unknown key 'histroy_size' in [[namespaces]]; did you mean 'history_size'?"
    );
    assert_eq!(
        refusal("[client.token]\nhmac_secret = \"s\"\n"),
        "relay.toml:2: unknown key 'hmac_secret' in [client.token]; did you mean 'hmac_secret_key'?"
    );
    assert_eq!(
        refusal("[clients]\n"),
        "relay.toml:1: unknown key 'clients' at the top level; did you mean 'client'?"
    );
}

#[test]
fn a_key_near_to_nothing_is_refused_with_all_that_is_allowed() {
    assert_eq!(
        refusal("[client]\nqqqqq = 1\n"),
        "relay.toml:2: unknown key 'qqqqq' in [client]; allowed here: ping_interval, insecure, token, origins"
    );
}

#[test]
fn a_wrong_value_is_refused_with_what_was_found_and_what_is_allowed() {
    assert_eq!(
        refusal("[[namespaces]]\nhistory_size = \"ten\"\n"),
        "relay.toml:2: 'history_size' in [[namespaces]]: found the text \"ten\", \
         expected a whole number from 0 to 4294967295"
    );
    assert_eq!(
        refusal("[client]\nping_interval = 25\n"),
        "relay.toml:2: 'ping_interval' in [client]: found the number 25, \
         expected a duration such as \"25s\", \"5m\" or \"100ms\""
    );
    assert_eq!(
        refusal("[client]\norigins = [\"a\",\n  7]\n"),
        "relay.toml:3: 'origins[1]' in [client]: found the number 7, expected a text"
    );
    assert_eq!(
        refusal("client = 3\n"),
        "relay.toml:1: 'client' at the top level: found the number 3, expected a table"
    );
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_lines() {
    let text = refusal("[client]\nx = 1\ninsecure = 1\n[[namespaces]]\nhistory_size = -1\n");
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().next().unwrap().starts_with("relay.toml:2:"));
    assert!(text.lines().last().unwrap().starts_with("relay.toml:5:"));
}

#[test]
fn many_problems_are_counted() {
    let text: String = (0..30).map(|i| format!("k{i} = 1\n")).collect();
    assert!(refusal(&text).ends_with("... and 10 more"));
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    assert!(refusal("[client]\nping_interval = = 3\n").starts_with("relay.toml:2: not TOML: "));
}

#[test]
fn the_environment_comes_after_the_file() {
    let variables = [
        ("HEADLAND_RELAY_CLIENT_PING_INTERVAL", "10s"),
        ("HEADLAND_RELAY_CLIENT_INSECURE", "true"),
        ("HEADLAND_RELAY_CLIENT_TOKEN_HMAC_SECRET_KEY", "12"),
        ("PATH", "/bin"),
    ];
    let whole = read_with("[client]\nping_interval = \"5s\"\norigins = [\"a\"]\n", &variables).unwrap().value;
    assert_eq!(whole.client.ping_interval, Duration::from_secs(10));
    assert_eq!(whole.client.token.hmac_secret_key.as_deref(), Some("12"));
    assert!(whole.client.insecure);
    assert_eq!(whole.client.origins, ["a"], "what the environment does not name stays");
}

#[test]
fn wrong_variables_are_refused_by_name() {
    let unknown = read_with("", &[("HEADLAND_RELAY_CLIENT_PING_INTERVALL", "1s")]).unwrap_err();
    assert_eq!(
        unknown,
        "HEADLAND_RELAY_CLIENT_PING_INTERVALL: unknown variable; did you mean HEADLAND_RELAY_CLIENT_PING_INTERVAL?"
    );
    let wrong = read_with("", &[("HEADLAND_RELAY_CLIENT_INSECURE", "yes")]).unwrap_err();
    assert_eq!(wrong, "HEADLAND_RELAY_CLIENT_INSECURE: found the text \"yes\", expected true or false");
}

#[test]
fn a_later_check_can_name_the_place_of_a_key_or_of_its_table() {
    let loaded = read("[client]\ninsecure = true\n[[namespaces]]\nname = \"a\"\nhistory_size = 3\n").unwrap();
    let set = loaded.places.problem("namespaces[0].history_size", "needs history_ttl");
    assert_eq!(set.to_string(), "relay.toml:5: 'history_size' in [[namespaces]]: needs history_ttl");
    let unset = loaded.places.problem("namespaces[0].history_ttl", "is missing");
    assert_eq!(unset.to_string(), "relay.toml:3: 'history_ttl' in [[namespaces]]: is missing");
    let nowhere = loaded.places.problem("absent.key", "is missing");
    assert_eq!(nowhere.to_string(), "relay.toml: 'key' in [absent]: is missing");
    assert!(loaded.places.set("client.insecure") && !loaded.places.set("client.ping_interval"));
}

#[test]
fn the_documented_default_file_loads_as_the_defaults() {
    let text = document::<Whole>("headland-relay: defaults");
    assert_eq!(read(&text).unwrap().value, Whole::default());
    assert!(
        text.contains("# How often the server pings.\n# 0s never does.\nping_interval = \"25s\"\n"),
        "{text}"
    );
    assert!(text.contains("# [[namespaces]]\n"), "{text}");
    assert!(text.contains("# history_ttl = \"0s\"\n"), "{text}");
    assert!(text.contains("# hmac_secret_key is unset; a text\n"), "{text}");
}

#[test]
fn durations_show_in_their_largest_exact_unit() {
    for text in ["720h", "25s", "90s", "1500ms", "5m", "0s", "7us"] {
        let duration = humantime::parse_duration(text).unwrap();
        assert_eq!(duration_text(duration), text);
    }
}
