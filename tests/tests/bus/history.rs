//! What a channel keeps: pages, bounds, and what comes back to those who were away.

use std::time::Duration;

use tests::wait;
use wire::code;

use crate::place::{Bus, channels};
use crate::shard::{Place, WITHIN, offsets};

pub(crate) fn pages_are_read_from_either_end(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    for channel in &channels("kept", test) {
        let begun = shards[0].subscribe(channel);
        assert_eq!(shards[1].page(channel, None, -1, false), Ok((begun.clone(), vec![])));
        for number in 1..=9_u8 {
            shards[0].publish(channel, &[number]);
        }
        for shard in &mut shards {
            let mut read = |since: Option<u64>, limit, reverse| {
                let since = since.map(|offset| begun.at(offset));
                let (top, page) = shard.page(channel, since.as_ref(), limit, reverse).unwrap();
                assert_eq!(top, begun.at(9));
                assert!(page.iter().all(|publication| publication.data == [publication.offset as u8]));
                offsets(&page)
            };
            let none: [u64; 0] = [];
            assert_eq!(read(None, 0, false), none, "the place alone");
            assert_eq!(read(None, -1, false), [1, 2, 3, 4, 5, 6, 7, 8, 9], "as many as may be");
            assert_eq!(read(None, 2, false), [1, 2]);
            assert_eq!(read(None, 2, true), [9, 8]);
            assert_eq!(read(Some(0), 2, false), [1, 2]);
            assert_eq!(read(Some(4), 3, false), [5, 6, 7]);
            assert_eq!(read(Some(4), 10, true), [3, 2, 1]);
            assert_eq!(read(Some(9), 10, false), none);
            assert_eq!(read(Some(9), 2, true), [8, 7]);
            assert_eq!(read(Some(0), 10, true), none);
        }
    }
}

pub(crate) fn a_place_of_another_epoch_or_of_the_future_is_refused(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    for channel in &channels("kept", test) {
        let top = shards[0].publish(channel, b"1");
        let other = Place { offset: 1, epoch: "OtherOne".to_owned() };
        for shard in &mut shards {
            for reverse in [false, true] {
                for wrong in [&other, &top.at(2)] {
                    let answer = shard.page(channel, Some(wrong), 10, reverse);
                    assert_eq!(answer, Err(code::UNRECOVERABLE_POSITION.code), "{wrong:?} {reverse}");
                }
            }
        }
    }
}

pub(crate) fn history_is_bounded_by_size_and_time(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    for channel in &channels("few", test) {
        let last = (0..10_u8).map(|number| shards[1].publish(channel, &[number])).last().unwrap();
        for shard in &mut shards {
            let (top, page) = shard.page(channel, None, -1, false).unwrap();
            assert_eq!((top, offsets(&page)), (last.clone(), vec![8, 9, 10]));
        }
    }
    for channel in &channels("brief", test) {
        let last = shards[1].publish(channel, b"1");
        for shard in &mut shards {
            let over = wait::until("history to be over", WITHIN, || {
                let (top, page) = shard.page(channel, None, -1, false).unwrap();
                assert_eq!(top, last, "the place lives on");
                page.is_empty().then_some(())
            });
            over.unwrap();
            assert_eq!(shard.recover(channel, &last), (last.clone(), Some(vec![])), "nothing was missed");
            assert_eq!(shard.recover(channel, &last.at(0)), (last.clone(), None), "this is gone");
        }
    }
}

pub(crate) fn removing_keeps_the_place(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut shards = place.shards();
    for channel in &channels("kept", test) {
        let begun = shards[1].subscribe(channel);
        shards[0].publish(channel, b"1");
        let two = shards[0].publish(channel, b"2");
        assert_eq!(place.remove(1, channel), None);
        for shard in &mut shards {
            assert_eq!(shard.page(channel, None, -1, false), Ok((two.clone(), vec![])));
        }
        assert_eq!(shards[0].publish(channel, b"3"), begun.at(3));
        for shard in &mut shards {
            assert_eq!(offsets(&shard.page(channel, None, -1, false).unwrap().1), [3]);
        }
        let heard = [(); 3].map(|()| shards[1].publication(channel).offset);
        assert_eq!(heard, [1, 2, 3], "those who were there noticed nothing");
    }
}

pub(crate) fn recovery_gives_all_that_came_after_or_nothing(bus: &'static Bus, test: &str) {
    let place = bus.place();
    for channel in &channels("few", test) {
        let mut publisher = place.shard(1);
        let top = (1..=4_u8).map(|number| publisher.publish(channel, &[number])).last().unwrap();
        for mut shard in place.shards() {
            let mut recovered = |from: &Place| {
                let (at, publications) = shard.recover(channel, from);
                assert_eq!(at, top);
                publications.map(|publications| {
                    assert!(publications.iter().all(|one| one.data == [one.offset as u8]));
                    offsets(&publications)
                })
            };
            assert_eq!(recovered(&top.at(2)), Some(vec![3, 4]));
            assert_eq!(recovered(&top), Some(vec![]));
            assert_eq!(recovered(&top.at(1)), Some(vec![2, 3, 4]));
            assert_eq!(recovered(&top.at(0)), None, "three are kept");
            assert_eq!(recovered(&top.at(5)), None, "the future");
            assert_eq!(recovered(&Place { offset: 4, epoch: "OtherOne".to_owned() }), None);
            let nameless = Place { offset: 1, epoch: String::new() };
            assert_eq!(recovered(&nameless), Some(vec![2, 3, 4]), "an empty epoch is the present one");
        }
    }
}

pub(crate) fn recovery_is_bounded_and_never_partial(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let channel = &channels("kept", test)[0];
    let mut publisher = place.shard(1);
    // `recovery_max_publication_limit`
    let begun = publisher.subscribe(channel);
    (0..301).for_each(|_| drop(publisher.publish(channel, b"x")));
    // A channel that its edge follows is where what came by the bus says.
    (0..301).for_each(|_| drop(publisher.publication(channel)));
    for mut shard in place.shards() {
        assert_eq!(shard.recover(channel, &begun), (begun.at(301), None));
        let (_, recovered) = shard.recover(channel, &begun.at(1));
        assert!(offsets(&recovered.unwrap()).into_iter().eq(2..=301));
    }
    let large = &channels("kept", test)[1];
    let data = vec![b'x'; 300_000];
    (0..3).for_each(|_| drop(publisher.publish(large, &data)));
    for mut shard in place.shards() {
        let (at, recovered) = shard.recover(large, &Place { offset: 0, epoch: String::new() });
        assert_eq!((at.offset, recovered), (3, None), "more bytes than a client may have waiting");
        let (_, recovered) = shard.recover(large, &at.at(2));
        assert_eq!(offsets(&recovered.unwrap()), [3]);
    }
}

pub(crate) fn the_latest_publication_is_enough_for_those_who_say_so(bus: &'static Bus, test: &str) {
    let place = bus.place();
    let mut publisher = place.shard(1);
    for channel in &channels("few", test) {
        let top = (1..=9_u8).map(|number| publisher.publish(channel, &[number])).last().unwrap();
        for mut shard in place.shards() {
            let mut latest = |from: &Place| {
                let (at, recovered) = shard.resume(channel, Some(from), true);
                assert_eq!(at, top);
                recovered.map(|publications| offsets(&publications))
            };
            assert_eq!(latest(&top), Some(vec![]), "that is where it was");
            assert_eq!(latest(&top.at(1)), Some(vec![9]));
            assert_eq!(latest(&Place { offset: 4, epoch: "OtherOne".to_owned() }), Some(vec![9]));
        }
    }
    let brief = &channels("brief", test)[0];
    let top = publisher.publish(brief, b"x");
    wait::pause(Duration::from_millis(400));
    let (at, recovered) = place.shard(0).resume(brief, Some(&top.at(0)), true);
    assert_eq!((at, recovered), (top, None), "there is none any more");
}
