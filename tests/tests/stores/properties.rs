//! What holds whatever happens: pages while others write, unread counts against a model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nodes::model::Id;
use nodes::store::{Change, Changed, From};

use crate::place::{Group, NOW, Place, body, id};

crate::contract::on_each! {
    a_walk_over_pages_misses_and_repeats_nothing_while_others_write
    unread_counts_are_those_of_a_model
    entries_and_position_are_of_one_moment
}

/// SplitMix64, so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % bound
    }
}

fn change(group: &Group, message: Id, by: Id, text: Option<&str>) -> Change {
    Change { workspace: group.workspace, channel: group.channel, message, by, body: text.map(body), at: NOW }
}

/// Writes and edits in the background until told to stop.
async fn noise(store: Arc<dyn nodes::store::Store>, group: Group, stop: Arc<AtomicBool>) {
    let mut random = Random(7);
    let mut last = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let posts: Vec<_> = (0..=random.below(5)).map(|_| group.post(0, "noise")).collect();
        for told in store.post(&posts).await.unwrap() {
            last.push(told.unwrap().message.id);
        }
        let message = last[usize::try_from(random.below(last.len() as u64)).unwrap()];
        let text = (random.below(2) == 0).then_some("changed");
        store.change(&change(&group, message, group.users[0], text)).await.unwrap();
    }
}

async fn a_walk_over_pages_misses_and_repeats_nothing_while_others_write(place: Place) {
    let (store, group) = (&place.store, place.group(1).await);
    let mut random = Random(11);
    let mut known = Vec::new();
    for _ in 0..150 {
        let posted = place.post(&group, 0, "x").await.message;
        known.push(posted.offset);
        if random.below(3) == 0 {
            store.change(&change(&group, posted.id, group.users[0], Some("y"))).await.unwrap();
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(noise(place.again().await, group.clone(), Arc::clone(&stop)));
    for _ in 0..6 {
        let limit = 1 + usize::try_from(random.below(40)).unwrap();
        // Backwards from the newest, and forwards from the first.
        let (mut back, mut from) = (Vec::new(), From::End);
        loop {
            let (_, page) = store.page(group.channel, from, limit).await.unwrap().unwrap();
            let Some(last) = page.last() else { break };
            from = From::Before(last.offset);
            back.extend(page.iter().map(|message| message.offset));
        }
        assert!(back.is_sorted_by(|a, b| a > b), "newest first, none twice");
        let end = back[0];
        let (mut forth, mut from) = (Vec::new(), From::After(0));
        while forth.last().is_none_or(|last| *last < end) {
            let (_, page) = store.page(group.channel, from, limit).await.unwrap().unwrap();
            forth.extend(page.iter().map(|message| message.offset));
            from = From::After(*forth.last().unwrap());
        }
        forth.retain(|offset| *offset <= end);
        back.reverse();
        assert_eq!(back, forth, "pages of {limit}");
        assert_eq!(&back[..known.len()], known, "none missed");
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

async fn entries_and_position_are_of_one_moment(place: Place) {
    let (store, group) = (&place.store, place.group(1).await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(noise(place.again().await, group.clone(), Arc::clone(&stop)));
    let mut looked = 0;
    while looked < 100 {
        let (position, entries) = store.entries(group.channel, None, 10, true).await.unwrap().unwrap();
        assert_eq!(entries.first().map_or(0, |entry| entry.offset), position.top);
        let offsets: Vec<u64> = entries.iter().map(|entry| entry.offset).collect();
        assert!(offsets.windows(2).all(|two| two[0] == two[1] + 1), "no gap: {offsets:?}");
        let (position, page) = store.page(group.channel, From::End, 1).await.unwrap().unwrap();
        assert!(page.first().is_none_or(|message| message.offset <= position.top));
        assert!(position.revised <= position.top);
        looked += 1;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

async fn unread_counts_are_those_of_a_model(place: Place) {
    let first = place.group(3).await;
    let mut groups = vec![first.clone()];
    for _ in 0..2 {
        let group = Group { channel: id(), ..first.clone() };
        place.store.open_stream(group.workspace, group.channel, "e").await.unwrap();
        groups.push(group);
    }
    let mut random = Random(23);
    // Of each channel by offset: id, sender, whether it is there.
    let mut model: Vec<BTreeMap<u64, (Id, Id, bool)>> = vec![BTreeMap::new(); groups.len()];
    for _ in 0..120 {
        let which = usize::try_from(random.below(groups.len() as u64)).unwrap();
        let (group, messages) = (&groups[which], &mut model[which]);
        if random.below(3) > 0 || messages.is_empty() {
            let sender = usize::try_from(random.below(3)).unwrap();
            let posted = place.post(group, sender, "x").await.message;
            messages.insert(posted.offset, (posted.id, posted.sender, true));
        } else {
            let at = usize::try_from(random.below(messages.len() as u64)).unwrap();
            let (message, sender, there) = messages.values_mut().nth(at).unwrap();
            let text = (random.below(2) == 0).then_some("changed");
            let done = place.store.change(&change(group, *message, *sender, text)).await.unwrap();
            assert_eq!(matches!(done, Changed::Gone), !*there);
            *there &= text.is_some();
        }
        let most = u32::try_from(1 + random.below(20)).unwrap();
        let user = first.users[usize::try_from(random.below(3)).unwrap()];
        let marks: Vec<(Id, u64)> = groups.iter().map(|group| (group.channel, random.below(40))).collect();
        let expected: Vec<u32> = model
            .iter()
            .zip(&marks)
            .map(|(messages, (_, mark))| {
                let unread = messages
                    .range(mark + 1..)
                    .filter(|(_, (_, sender, there))| *sender != user && *there)
                    .count();
                u32::try_from(unread).unwrap().min(most)
            })
            .collect();
        assert_eq!(place.store.unread(user, &marks, most).await.unwrap(), expected);
    }
}
