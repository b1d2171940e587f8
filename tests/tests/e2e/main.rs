//! The whole edge as its users meet it: real programs as child processes, unmodified clients, real sockets.
//! Each test has a world of its own.
#![forbid(unsafe_code)]

/// What holds for a session of the npm SDK in any encoding, over any transport: `run!` with its arguments and the scenarios.
macro_rules! everywhere {
    ($run:ident! $($arguments:tt)*) => {
        $run! { $($arguments)*,
            connects_with_a_token
            a_wrong_token_ends_the_session_for_good
            an_expired_token_is_replaced
            a_token_about_to_expire_is_refreshed_in_the_same_session
            two_tabs_chat
            history_is_paged_forwards_and_backwards
            what_was_missed_is_recovered_after_leaving
            what_was_missed_is_recovered_after_the_wire_was_cut
            what_history_has_forgotten_is_told_and_not_recovered
            unsubscribed_means_silence
            what_is_not_allowed_is_refused_for_good
            many_commands_in_one_frame
            a_subscription_too_many_is_refused
        }
    };
}

mod admission;
mod api;
mod channels;
mod config;
mod demo;
mod door;
mod echo;
mod fast;
mod features;
mod loadgen;
mod loss;
mod mesh;
mod nodes;
mod proxy;
mod redis;
mod sandbox;
mod sdk;
mod session;
mod slow;
mod tls;
mod tokens;
mod transports;
mod up;
