//! Unmodified clients from their registries: npm `centrifuge`, PyPI `centrifuge-python` and `websockets`.
//! The scenarios are in `tests/e2e`; the tests here give each its world.

use tests::script::{self, Script};
use tests::world::{Builder, World};

/// Worlds in which scenarios run against the TLS listener.
macro_rules! over_tls {
    ($file:literal, $world:expr, $($name:ident)*) => {$(
        #[test]
        fn $name() {
            let world = $world.start().unwrap();
            script::run(&world, $file, stringify!($name), &world.wss()).unwrap();
        }
    )*};
}

/// The same with the clients' Protobuf builds.
macro_rules! in_protobuf {
    ($file:literal, $world:expr, $($name:ident)*) => {$(
        #[test]
        fn $name() {
            let world = $world.start().unwrap();
            script::run(&world, $file, concat!(stringify!($name), " protobuf"), &world.wss()).unwrap();
        }
    )*};
}

fn usual() -> Builder {
    World::builder()
}

fn compressing() -> Builder {
    usual().gateway("[websocket]\ncompression = true\n")
}

fn open_to_anybody() -> Builder {
    let channel = "allow_subscribe_for_client = true\nallow_subscribe_for_anonymous = true\n";
    let namespaces = format!("[[channel.namespaces]]\nname = \"open\"\n{channel}");
    usual().relay(&format!("[client]\nallow_anonymous_connect_without_token = true\n{namespaces}"))
}

fn quick_pings() -> Builder {
    usual().relay("[client]\nping_interval = \"1s\"\npong_timeout = \"500ms\"\n")
}

mod npm {
    use super::*;

    everywhere! { over_tls! "sdk.mjs", usual() }
    over_tls! { "sdk.mjs", usual(),
        a_refused_refresh_ends_the_session
        nobody_without_a_token_where_that_is_off
        rpc_is_not_available_and_send_is_silent
        large_messages_pass_and_larger_ones_end_the_session
        order_holds_under_load
    }
    over_tls! { "sdk.mjs", open_to_anybody(), anybody_without_a_token_where_that_is_on }
    over_tls! { "sdk.mjs", quick_pings(), pings_are_answered_by_the_sdk }

    #[test]
    fn two_tabs_chat_without_tls() {
        let world = World::start().unwrap();
        script::run(&world, "sdk.mjs", "two_tabs_chat", &world.ws()).unwrap();
    }

    #[test]
    fn a_lost_relay_is_a_pause() {
        // The namespace's history goes with the relay, so recovery is off: what is tested is that nobody is disconnected.
        let mut world = usual().start().unwrap();
        let mut script = Script::start(&world, "sdk.mjs", "a_lost_relay_is_a_pause", &world.wss()).unwrap();
        script.hear("kill").unwrap();
        world.kill_relay().unwrap();
        script.say("killed").unwrap();
        script.hear("start").unwrap();
        world.restart_relay().unwrap();
        script.say("started").unwrap();
        script.end().unwrap();
    }

    #[test]
    fn a_lost_gateway_is_a_reconnect() {
        let mut world = usual().start().unwrap();
        let mut script =
            Script::start(&world, "sdk.mjs", "a_lost_gateway_is_a_reconnect", &world.wss()).unwrap();
        script.hear("restart").unwrap();
        world.restart_gateway().unwrap();
        script.say("restarted").unwrap();
        script.end().unwrap();
    }
}

mod npm_protobuf {
    use super::*;

    everywhere! { in_protobuf! "sdk.mjs", usual() }
    in_protobuf! { "sdk.mjs", usual(),
        rpc_is_not_available_and_send_is_silent
        large_messages_pass_and_larger_ones_end_the_session
        order_holds_under_load
    }
    in_protobuf! { "sdk.mjs", open_to_anybody(), anybody_without_a_token_where_that_is_on }
    in_protobuf! { "sdk.mjs", quick_pings(), pings_are_answered_by_the_sdk }
    over_tls! { "encodings.mjs", usual(),
        json_and_protobuf_clients_share_a_channel
        each_recovers_what_the_other_said
        bytes_that_are_not_json_are_base64_to_json_clients
        errors_and_ends_are_the_same
    }
}

mod pypi_sdk {
    use super::*;

    over_tls! { "sdk.py", usual(),
        chats_and_sees_who_is_there
        recovers_what_it_missed
        errors_are_the_protocols_own
    }
}

mod pypi_sdk_protobuf {
    use super::*;

    in_protobuf! { "sdk.py", usual(),
        chats_and_sees_who_is_there
        recovers_what_it_missed
        publishes_once
        errors_are_the_protocols_own
    }
}

mod pypi_websockets {
    use super::*;

    over_tls! { "frames.py", usual(),
        fragments_and_control_frames_in_between
        a_ping_of_125_bytes_comes_back
        no_extension_is_agreed_when_one_is_offered
        the_json_subprotocol_is_agreed
        many_commands_in_one_frame_are_answered_in_order
        binary_frames_are_refused_by_the_protocols_code
        text_that_is_not_utf8_ends_with_1007
    }
    over_tls! { "frames.py", compressing(),
        compression_is_agreed_without_context_takeover_and_works_both_ways
        a_bomb_ends_with_1009
        a_window_that_cannot_be_promised_is_declined
    }
}

/// npm `ws`, beneath the SDK, offers compression by itself.
mod npm_compressing {
    use super::*;

    over_tls! { "deflate.mjs", compressing(), compression_is_agreed_and_works_both_ways }
    over_tls! { "sdk.mjs", compressing(),
        two_tabs_chat
        many_commands_in_one_frame
        what_was_missed_is_recovered_after_the_wire_was_cut
    }
    over_tls! { "encodings.mjs", compressing(), json_and_protobuf_clients_share_a_channel }
}
