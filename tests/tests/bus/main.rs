//! Goal: a shard may rely on the same promises, whatever bus its relay is on. Method: real relays on each of the four buses, real link
//! sockets, one list of promises; what differs between buses is data in `place.rs`.
#![forbid(unsafe_code)]

mod faults;
mod history;
mod place;
mod presence;
mod shard;
mod streams;

/// One test of a promise for each bus.
macro_rules! promises {
    (on $($bus:ident)*; $promised:tt) => {$(
        mod $bus { promises! { of $bus; $promised } }
    )*};
    (of $bus:ident; { $($topic:ident: $($name:ident)*;)* }) => {$(
        mod $topic {$(
            #[test]
            fn $name() {
                crate::$topic::$name(&crate::place::$bus, stringify!($name));
            }
        )*}
    )*};
}

mod every_bus {
    promises! { on local mesh star cluster; {
        streams:
            publications_have_their_places_and_reach_every_shard_in_order
            what_is_published_comes_as_it_was
            a_key_makes_one_publication_wherever_it_comes_from
            without_history_nothing_is_kept
            what_skips_history_is_delivered_and_has_no_place
            publishers_everywhere_at_once_make_one_order
            an_answer_stands_exactly_between_what_it_includes_and_what_comes_after
            who_leaves_and_comes_back_misses_nothing
            many_channels_at_once
            a_shard_that_does_not_read_misses_nothing_once_it_does
            names_that_cannot_be_are_refused;
        history:
            pages_are_read_from_either_end
            a_place_of_another_epoch_or_of_the_future_is_refused
            history_is_bounded_by_size_and_time
            removing_keeps_the_place
            recovery_gives_all_that_came_after_or_nothing
            recovery_is_bounded_and_never_partial
            the_latest_publication_is_enough_for_those_who_say_so;
        presence:
            members_are_seen_and_announced_once_from_everywhere
            what_is_not_to_be_seen_or_told_is_not
            members_of_a_lost_link_leave_after_the_grace_unless_they_are_back;
        faults:
            subscribers_of_a_relay_that_was_killed_recover_or_begin_anew;
    }}
}

mod shared_bus {
    promises! { on mesh star cluster; {
        presence:
            members_of_a_dead_edge_leave_once;
        faults:
            subscribers_elsewhere_hear_of_everything_or_are_told;
    }}
}
