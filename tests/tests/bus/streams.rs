//! Publications: their places, their order, and that everybody who subscribed gets each of them once.

use std::time::Duration;

use tests::wait;
use wire::code;
use wire::link::ToRelay;
use wire::tags::{Tags, TagsBuf};

use crate::place::{Bus, channels};
use crate::shard::{Heard, Place, Publication, info, offsets, publish};

pub(crate) fn publications_have_their_places_and_reach_every_shard_in_order(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    for channel in channels("kept", test) {
        let begun: Vec<Place> = shards.iter_mut().map(|shard| shard.subscribe(&channel)).collect();
        assert!(begun.iter().all(|place| *place == begun[0] && place.offset == 0), "{begun:?}");
        assert_eq!(begun[0].epoch.len(), 8);
        let publishers = shards.len();
        for number in 1..=20 {
            let data = [number as u8, 0, 255, b'\r', b'\n'];
            let publisher = &mut shards[number % publishers];
            assert_eq!(publisher.publish(&channel, &data), begun[0].at(number as u64));
        }
        for shard in &mut shards {
            for number in 1..=20 {
                let publication = shard.publication(&channel);
                assert_eq!((publication.offset, publication.data[0]), (number, number as u8));
                assert_eq!(publication.data[1..], [0, 255, b'\r', b'\n']);
            }
        }
    }
    assert!(!shards.iter().any(|shard| shard.has_heard(|_| true)), "each once");
}

pub(crate) fn what_is_published_comes_as_it_was(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    let tags = TagsBuf::pack([("kind", "news"), ("place", "Zürich")]).unwrap();
    let who = info("ann/2");
    let large = vec![0xa5; 500_000];
    for namespace in ["kept", "loose"] {
        let channel = &channels(namespace, test)[0];
        shards.iter_mut().for_each(|shard| drop(shard.subscribe(channel)));
        for data in [&b"{\"a\": 1}"[..], b"", &large] {
            let (said, skip_history) = (tags.as_tags(), false);
            let answer = shards[0].ask(|request| ToRelay::Publish {
                request,
                channel,
                data,
                info: Some(who),
                tags: said,
                key: "",
                skip_history,
                delta: true,
            });
            let Heard::Published { place, .. } = answer else { panic!("{answer:?}") };
            let info = Some((who.client, "ann".to_owned(), who.conn_info.to_vec(), Vec::new()));
            let (data, tags) = (data.to_vec(), tags.clone());
            let wanted = Publication { offset: place.offset, data, info, tags, delta: true };
            for shard in &mut shards {
                assert!(shard.publication(channel) == wanted, "{namespace}");
            }
            if namespace == "kept" {
                let (_, page) = shards[1].page(channel, None, 1, true).unwrap();
                assert!(page == [wanted]);
            }
        }
        let too_large = vec![0; 2_000_000];
        let answer = shards[0].ask(|request| publish(request, channel, &too_large, ""));
        assert!(
            matches!(answer, Heard::Failed { code, .. } if code == code::LIMIT_EXCEEDED.code),
            "{answer:?}"
        );
    }
}

pub(crate) fn a_key_makes_one_publication_wherever_it_comes_from(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    let last = shards.len() - 1;
    for channel in channels("kept", test) {
        let begun = shards[last].subscribe(&channel);
        assert_eq!(shards[0].publish_once(&channel, b"a", "key"), (begun.at(1), false));
        for shard in &mut shards {
            assert_eq!(shard.publish_once(&channel, b"b", "key"), (begun.at(1), true));
        }
        assert_eq!(shards[1].publish_once(&channel, b"c", "other"), (begun.at(2), false));
        let heard = [(); 2].map(|()| shards[last].publication(&channel));
        assert_eq!(
            heard.map(|publication| (publication.offset, publication.data)),
            [(1, b"a".to_vec()), (2, b"c".to_vec())]
        );
    }
    // Where there is no place, still only one of them.
    let (channel, other) = (&channels("loose", test)[0], &channels("loose", test)[1]);
    shards[last].subscribe(channel);
    assert!(!shards[0].publish_once(channel, b"a", "key").1);
    assert!(shards[1].publish_once(channel, b"b", "key").1);
    assert!(!shards[1].publish_once(other, b"b", "key").1, "a key is a channel's");
    shards[0].publish(channel, b"c");
    let heard = [(); 2].map(|()| shards[last].publication(channel).data);
    assert_eq!(heard, [b"a".to_vec(), b"c".to_vec()]);
}

pub(crate) fn without_history_nothing_is_kept(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    let nowhere = Place { offset: 0, epoch: String::new() };
    for channel in &channels("loose", test) {
        for shard in &mut shards {
            assert_eq!(shard.recover(channel, &nowhere), (nowhere.clone(), None));
        }
        assert_eq!(shards[0].publish(channel, b"now"), nowhere);
        for shard in &mut shards {
            assert_eq!(
                shard.publication(channel),
                Publication { data: b"now".to_vec(), ..Default::default() }
            );
            assert_eq!(shard.page(channel, None, -1, false), Err(code::NOT_AVAILABLE.code));
        }
        assert_eq!(place.remove(0, channel), Some(u64::from(code::NOT_AVAILABLE.code)));
    }
}

pub(crate) fn what_skips_history_is_delivered_and_has_no_place(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    for channel in &channels("kept", test) {
        let begun = shards[1].subscribe(channel);
        assert_eq!(shards[0].publish(channel, b"1"), begun.at(1));
        let answer = shards[0].ask(|request| ToRelay::Publish {
            request,
            channel,
            data: b"now",
            info: None,
            tags: Tags::NONE,
            key: "",
            skip_history: true,
            delta: false,
        });
        assert!(matches!(&answer, Heard::Published { place, .. } if place.offset == 0), "{answer:?}");
        assert_eq!(shards[0].publish(channel, b"2"), begun.at(2));
        let mut heard: Vec<(u64, Vec<u8>)> = (0..3)
            .map(|_| shards[1].publication(channel))
            .map(|publication| (publication.offset, publication.data))
            .collect();
        heard.sort();
        assert_eq!(heard, [(0, b"now".to_vec()), (1, b"1".to_vec()), (2, b"2".to_vec())]);
        let (top, page) = shards[0].page(channel, None, -1, false).unwrap();
        assert_eq!((top, offsets(&page)), (begun.at(2), vec![1, 2]));
    }
}

pub(crate) fn publishers_everywhere_at_once_make_one_order(bus: &'static Bus, test: &str) {
    const EACH: u32 = 100;
    const PUBLISHERS: usize = 6;
    let place = bus.place();
    let mut listeners = place.shards();
    let channel = &channels("kept", test)[0];
    listeners.iter_mut().for_each(|shard| drop(shard.subscribe(channel)));
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut shard = place.shard(publisher);
            scope.spawn(move || {
                for number in 1..=EACH {
                    shard.say(&publish(number, channel, &[publisher as u8, number as u8], ""));
                }
                shard.flush();
                let offset = |answer| match answer {
                    Heard::Published { place, .. } => place.offset,
                    other => panic!("{other:?}"),
                };
                let made: Vec<u64> = (1..=EACH).map(|number| offset(shard.answer(number))).collect();
                assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "one shard's own order is kept");
            });
        }
    });
    let all = PUBLISHERS * EACH as usize;
    let heard: Vec<Publication> = (0..all).map(|_| listeners[0].publication(channel)).collect();
    assert!(offsets(&heard).into_iter().eq(1..=all as u64), "without a gap");
    for listener in &mut listeners[1..] {
        for wanted in &heard {
            assert_eq!(listener.publication(channel), *wanted, "the same everywhere");
        }
    }
    let (_, page) = listeners[0].page(channel, None, -1, false).unwrap();
    let (mut read, mut since) = (page, heard[0].clone());
    while read.len() < all {
        since.offset = read[read.len() - 1].offset;
        let from = Place { offset: since.offset, epoch: String::new() };
        let (_, page) = listeners[0].page(channel, Some(&from), -1, false).unwrap();
        assert!(!page.is_empty());
        read.extend(page);
    }
    assert_eq!(read, heard, "and history is what was delivered");
}

pub(crate) fn an_answer_stands_exactly_between_what_it_includes_and_what_comes_after(
    bus: &'static Bus,
    test: &str,
) {
    const ALL: u64 = 400;
    let place = bus.place();
    for (number, channel) in channels("kept", test).iter().take(3).enumerate() {
        let begun = place.shard(0).subscribe(channel);
        std::thread::scope(|scope| {
            let mut publisher = place.shard(number + 1);
            let publishing = scope.spawn(move || {
                (1..=ALL).for_each(|number| assert_eq!(publisher.publish(channel, b"x").offset, number));
            });
            let mut others = 0;
            while !publishing.is_finished() {
                let mut shard = place.shard(others);
                let (at, recovered) = shard.recover(channel, &begun);
                if at.offset <= 300 {
                    let recovered = recovered.expect("as much as is given back");
                    assert!(offsets(&recovered).into_iter().eq(1..=at.offset), "{at:?}");
                }
                for next in at.offset + 1..=ALL.min(at.offset + 5) {
                    assert_eq!(shard.publication(channel).offset, next);
                }
                // The same shard again: what it had until now stands before the answer, the rest behind it.
                let again = shard.subscribe(channel);
                let until = ALL.min(at.offset + 5);
                for next in until + 1..=ALL.min(again.offset + 5) {
                    assert_eq!(shard.publication(channel).offset, next);
                }
                others += 1;
            }
        });
    }
}

pub(crate) fn who_leaves_and_comes_back_misses_nothing(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let (mut here, mut there) = (place.shard(0), place.shard(1));
    for channel in &channels("kept", test) {
        let mut at = here.subscribe(channel);
        // Within the time that a channel lingers on the bus, and after it.
        for pause in [0, 300, 0] {
            here.unsubscribe(channel);
            // What follows on the same link is answered after it.
            here.page(channel, None, 0, false).unwrap();
            wait::pause(Duration::from_millis(pause));
            for _ in 0..3 {
                there.publish(channel, b"missed");
            }
            let (now, recovered) = here.recover(channel, &at);
            let wanted: Vec<u64> = (at.offset + 1..=now.offset).collect();
            assert_eq!(offsets(&recovered.unwrap()), wanted);
            // What had not come by the bus yet when it was answered, and what is published now.
            let next = there.publish(channel, b"heard");
            for offset in now.offset + 1..=next.offset {
                assert_eq!(here.publication(channel).offset, offset, "and it was silent meanwhile");
            }
            at = next;
        }
    }
}

pub(crate) fn many_channels_at_once(bus: &'static Bus, test: &str) {
    const CHANNELS: u32 = 1000;
    let place = bus.place();
    let names: Vec<String> = (1..=CHANNELS).map(|number| format!("kept:{test} {number}")).collect();
    let mut shards = place.shards();
    for shard in &mut shards {
        let mut due: Vec<&String> = names.iter().collect();
        while !due.is_empty() {
            let asked: Vec<(u32, &String)> =
                due.drain(..).map(|channel| (shard.request(), channel)).collect();
            for (request, channel) in &asked {
                let request = *request;
                shard.say(&ToRelay::Subscribe { request, channel, recover: None, latest: false });
            }
            shard.flush();
            for (request, channel) in asked {
                if !matches!(shard.answer(request), Heard::Subscribed { .. }) {
                    due.push(channel);
                }
            }
        }
    }
    for (request, channel) in (1..).zip(&names) {
        shards[1].say(&publish(CHANNELS + request, channel, channel.as_bytes(), ""));
    }
    shards[1].flush();
    for shard in &mut shards {
        for channel in &names {
            let publication = shard.publication(channel);
            assert_eq!((publication.offset, &publication.data[..]), (1, channel.as_bytes()));
        }
    }
}

pub(crate) fn a_shard_that_does_not_read_misses_nothing_once_it_does(bus: &'static Bus, test: &str) {
    // More than waits for a link.
    const ALL: u64 = 300;
    let data = vec![b'x'; 80_000];
    let place = bus.place();
    let channel = &channels("kept", test)[0];
    let (mut slow, mut quick, mut there) = (place.shard(0), place.shard(0), place.shard(1));
    slow.subscribe(channel);
    quick.subscribe(channel);
    for number in 1..=ALL {
        assert_eq!(there.publish(channel, &data).offset, number);
        assert_eq!(quick.publication(channel).offset, number, "others do not wait");
    }
    let gaps = place.edges[0].metrics().unwrap().sum("headland_relay_gaps_total", &[]);
    assert!(gaps >= 1.0, "it was behind: {gaps}");
    for number in 1..=ALL {
        assert_eq!(slow.publication(channel).offset, number);
    }
    there.publish(channel, b"last");
    assert_eq!(slow.publication(channel).offset, ALL + 1);
}

pub(crate) fn names_that_cannot_be_are_refused(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shard = place.shard(1);
    let long = test.repeat(300);
    for (channel, error) in
        [("nobody:1", code::UNKNOWN_CHANNEL), ("", code::BAD_REQUEST), (&long, code::LIMIT_EXCEEDED)]
    {
        let question = |kind, request| match kind {
            0 => ToRelay::Subscribe { request, channel, recover: None, latest: false },
            1 => publish(request, channel, b"x", ""),
            2 => ToRelay::History { request, channel, since: None, limit: -1, reverse: false },
            3 => ToRelay::Presence { request, channel },
            _ => ToRelay::PresenceStats { request, channel },
        };
        for kind in 0..5 {
            let refused = shard.settled(|request| question(kind, request));
            assert_eq!(refused, Err(error.code), "{:?}", question(kind, 0));
        }
        assert_eq!(place.remove(1, channel), Some(u64::from(error.code)));
    }
}
