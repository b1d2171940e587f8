//! Who appears to others, and when that is told anew: after a lost link, and when the settings change.

use wire::token::{Claims, Overrides, Sub};

use super::*;
use crate::admission::{Admission, Lists};

impl World {
    /// A shard that has told its relay of everybody.
    fn settled() -> Self {
        let mut world = Self::new();
        assert!(world.told().is_empty());
        world
    }

    /// The settings with another namespace "chat", for as long as the shard takes to tell of it.
    fn with_chat(&mut self, change: impl FnOnce(&mut Namespace)) -> Vec<String> {
        self.change(|settings| change(&mut settings.namespaces[0]));
        self.told()
    }

    /// What is told of who is present; subscriptions that are asked for again are answered.
    fn told(&mut self) -> Vec<String> {
        while self.shard.restore(self.now) {}
        let asked = self.asked();
        for request in asked.iter().filter_map(|text| subscribe_request(text)) {
            let (offset, epoch, recovered, publications) = (5, "e", true, Vec::new());
            self.hear(&ToShard::Subscribed { request, offset, epoch, recovered, publications });
        }
        asked.into_iter().filter(|text| text.starts_with("Enter") || text.starts_with("Leave")).collect()
    }

    fn id(&self, index: usize) -> String {
        format!("{:?}", self.shard.connections[index].client)
    }
}

/// One line for each client, in any order.
fn tells_of(told: &[String], word: &str, ids: &[String]) {
    assert_eq!(told.len(), ids.len(), "{told:?}");
    for id in ids {
        assert!(told.iter().any(|text| text.starts_with(word) && text.contains(id)), "{word} {id}: {told:?}");
    }
}

#[test]
fn who_no_longer_appears_by_the_settings_is_out_of_presence_at_once_and_in_again_when_they_change_back() {
    let mut world = World::settled();
    let sessions = [(); 3].map(|()| world.subscribed("chat:1"));
    let elsewhere = world.subscribed("a");
    let ids = sessions.map(|index| world.id(index));
    tells_of(&world.with_chat(|chat| chat.presence = false), "Leave", &ids);
    assert!(world.with_chat(|chat| chat.presence = false).is_empty(), "nothing has changed");
    let newcomer = world.subscribed("chat:1");
    assert!(world.told().is_empty());
    let told = world.with_chat(|chat| chat.join_leave = true);
    let all = [ids.to_vec(), vec![world.id(newcomer)]].concat();
    tells_of(&told, "Enter", &all);
    assert!(told.iter().all(|text| text.contains("presence: true, announced: true")), "{told:?}");
    assert!(!told.iter().any(|text| text.contains(&world.id(elsewhere))));
    // A namespace that is gone has nobody in it.
    world.change(|settings| settings.namespaces.clear());
    tells_of(&world.told(), "Leave", &all);
}

#[test]
fn what_a_token_says_of_its_subscription_stays() {
    let mut world = World::settled();
    let overrides = Overrides { presence: Some(true), ..Overrides::default() };
    let sub = Sub { channel: "chat:1".to_owned(), overrides, ..Sub::default() };
    let claims = Claims { user: "42".to_owned(), subs: vec![sub], ..Claims::default() };
    let seen = world.server_side(claims);
    let plain = world.subscribed("chat:1");
    let ids = [world.id(seen), world.id(plain)];
    let told = world.with_chat(|chat| chat.presence = false);
    let (entered, left): (Vec<_>, Vec<_>) = told.into_iter().partition(|text| text.starts_with("Enter"));
    tells_of(&entered, "Enter", &ids[..1]);
    tells_of(&left, "Leave", &ids[1..]);
}

#[test]
fn settings_that_change_while_the_link_is_down_count_when_it_is_up() {
    let mut world = World::settled();
    let present = world.subscribed("chat:1");
    world.shard.link_down(world.now);
    assert!(world.with_chat(|chat| chat.presence = false).is_empty());
    world.shard.link_up();
    assert!(world.told().is_empty());
    world.shard.link_down(world.now);
    world.with_chat(|_| ());
    world.shard.link_up();
    tells_of(&world.told(), "Enter", &[world.id(present)]);
}

#[test]
fn several_changes_in_a_row_end_with_the_last() {
    let mut world = World::settled();
    let present = world.subscribed("chat:1");
    for presence in [false, true] {
        world.change(|settings| settings.namespaces[0].presence = presence);
    }
    tells_of(&world.told(), "Enter", &[world.id(present)]);
}

#[test]
fn who_takes_a_leavers_place_in_the_middle_of_it_is_told_of_too() {
    let mut world = World::settled();
    let caps = Caps { total: 1_000, per_source: 0, handshaking: 0, ..Caps::default() };
    world.shard.door = Admission::new(caps, Lists::new(&policy().settings.admission));
    let mut sessions: Vec<usize> = (0..600).map(|_| world.subscribed("chat:1")).collect();
    world.shard.link_down(world.now);
    world.shard.link_up();
    assert!(world.shard.restore(world.now), "more than one turn's");
    let mut told = world.asked();
    for _ in 0..50 {
        let first = sessions.remove(0);
        world.shard.broken(first);
    }
    told.extend(world.told());
    told.retain(|text| text.starts_with("Enter"));
    let told = told.concat();
    for index in sessions {
        let id = world.id(index);
        assert!(told.contains(&id), "{id}");
    }
}
