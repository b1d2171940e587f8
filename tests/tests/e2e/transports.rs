//! The same sessions over what is left when a network breaks WebSocket: the unmodified npm SDK over HTTP streams and server-sent
//! events, from Node and from pages of other sites in Chromium, plain Python over long polls, PyPI `websockets` as a client that
//! only listens.

use tests::script;
use tests::world::{Builder, World};

const ALL: &str = "[http_stream]\nenabled = true\n[sse]\nenabled = true\n[poll]\nenabled = true\ntimeout = \"2s\"\n\
                   [uni_websocket]\nenabled = true\n";

fn usual() -> Builder {
    World::builder().gateway(ALL)
}

/// Two shards, so that commands reach the one that has the session as well as the other.
fn shards() -> Builder {
    usual().gateway("[shards]\ncount = 2\n")
}

fn quick_pings() -> Builder {
    usual().relay("[client]\nping_interval = \"1s\"\npong_timeout = \"500ms\"\n")
}

fn url(world: &World, endpoint: &str) -> String {
    world.wss().replace("wss:", "https:").replace("/websocket", endpoint)
}

macro_rules! scenarios {
    ($file:literal, $words:literal, $endpoint:literal, $world:expr, $($name:ident)*) => {$(
        #[test]
        fn $name() {
            let world = $world.start().unwrap();
            let scenario = concat!(stringify!($name), $words);
            script::run(&world, $file, scenario, &url(&world, $endpoint)).unwrap();
        }
    )*};
}

macro_rules! emulated {
    ($module:ident, $words:literal, $endpoint:literal) => {
        mod $module {
            use super::*;

            everywhere! { scenarios! "sdk.mjs", $words, $endpoint, shards() }
            scenarios! { "sdk.mjs", $words, $endpoint, shards(),
                nobody_without_a_token_where_that_is_off
            }
            scenarios! { "sdk.mjs", $words, $endpoint, quick_pings(), pings_are_answered_by_the_sdk }
        }
    };
}

emulated!(http_stream, "", "/http_stream");
emulated!(http_stream_protobuf, " protobuf", "/http_stream");
emulated!(sse, "", "/sse");

mod poll {
    use super::*;

    scenarios! { "poll.py", "", "/poll", usual(),
        polls_chat_and_miss_nothing
        a_poll_without_news_ends_in_time
        a_poll_with_a_wrong_token_is_told_so
        two_requests_at_once_are_one_too_many
    }
}

mod listening {
    use super::*;

    scenarios! { "uni.py", "", "/uni_websocket", quick_pings(),
        a_listener_is_told_who_it_is_and_pinged
        a_listener_hears_the_channels_of_its_token
        a_listener_with_a_wrong_token_is_told_and_closed
    }
}

mod pages {
    use super::*;

    fn with_origins() -> Builder {
        usual().gateway("[websocket]\nallowed_origins = [\"http://*.example.com\"]\n")
    }

    scenarios! { "origins.mjs", "", "/websocket", with_origins(),
        pages_of_an_allowed_site_chat_whatever_the_transport
        pages_of_other_sites_get_nowhere_whatever_the_transport
        what_other_sites_send_unasked_is_refused
    }
}
