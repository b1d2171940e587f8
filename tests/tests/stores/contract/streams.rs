//! Streams: messages, changes, positions.

use nodes::model::{EntryKind, Id, Position};
use nodes::store::{Change, Changed, From, StoreError, Unannounced};

use crate::place::{Group, NOW, Place, body};

super::on_each! {
    what_is_posted_is_read_as_it_was_sent
    a_batch_stores_what_it_can_and_says_of_each_what_became_of_it
    the_same_key_makes_no_second_message
    an_edit_and_a_deletion_are_entries_of_their_own
    entries_are_read_from_both_ends
    pages_run_over_messages_by_offset
    what_the_bus_has_not_had_is_owed
    an_epoch_is_renewed_once
}

async fn what_is_posted_is_read_as_it_was_sent(place: Place) {
    let (store, group) = (&place.store, place.group(1).await);
    let sent = r#"{"z": 1.50, "a":"\u00fc\u0000 \"x\"" ,"a":[ ]}"#;
    let mut post = group.post(0, "");
    post.body = serde_json::value::RawValue::from_string(sent.to_owned()).unwrap();
    post.media = "https://files/ü".to_owned();
    post.key = "k 'ü\"".to_owned();
    let posted = store.post(std::slice::from_ref(&post)).await.unwrap().remove(0).unwrap();
    assert!(!posted.duplicate);
    assert_eq!((posted.message.offset, posted.epoch.as_str()), (1, "epoch"));
    let read = store.message(group.channel, post.id).await.unwrap().unwrap();
    for message in [&posted.message, &read] {
        assert_eq!((message.id, message.channel, message.offset), (post.id, group.channel, 1));
        assert_eq!((message.sender, message.created_at), (group.users[0], NOW));
        assert_eq!((&message.key, &message.media), (&post.key, &post.media));
        assert_eq!((message.edited_at, message.deleted_at), (0, 0));
        assert_eq!(message.body.get(), sent);
    }
    assert!(store.message(Id(1), post.id).await.unwrap().is_none());
    let position = store.position(group.channel).await.unwrap().unwrap();
    assert_eq!(position, Position { top: 1, epoch: "epoch".to_owned(), revised: 0, announced: 0 });
    assert_eq!(store.position(Id(1)).await.unwrap(), None);
}

async fn a_batch_stores_what_it_can_and_says_of_each_what_became_of_it(place: Place) {
    let (a, b) = (place.group(2).await, place.group(1).await);
    let nowhere = Group { channel: Id(1), ..a.clone() };
    let mut posts = vec![a.post(0, "a1"), nowhere.post(0, "x"), b.post(0, "b1"), a.post(1, "a2")];
    posts.push(posts[0].clone());
    posts[4].id = crate::place::id();
    let told = place.store.post(&posts).await.unwrap();
    assert_eq!(told[0].as_ref().unwrap().message.offset, 1);
    assert_eq!(told[1].as_ref().unwrap_err(), &StoreError::Missing);
    assert_eq!(told[2].as_ref().unwrap().message.offset, 1);
    assert_eq!(told[3].as_ref().unwrap().message.offset, 2);
    let double = told[4].as_ref().unwrap();
    assert!(double.duplicate && double.message.id == posts[0].id && double.message.offset == 1);
    assert!(place.store.post(&[]).await.unwrap().is_empty());
    for count in [1, 2, 3, 37, 512] {
        let posts: Vec<_> = (0..count).map(|n| b.post(0, &n.to_string())).collect();
        let told = place.store.post(&posts).await.unwrap();
        let top = place.store.position(b.channel).await.unwrap().unwrap().top;
        let offsets: Vec<u64> = told.into_iter().map(|told| told.unwrap().message.offset).collect();
        assert_eq!(offsets, (top - count + 1..=top).collect::<Vec<_>>());
    }
}

async fn the_same_key_makes_no_second_message(place: Place) {
    let (store, group) = (&place.store, place.group(2).await);
    let mut first = group.post(0, "first");
    first.key = "k".to_owned();
    store.post(std::slice::from_ref(&first)).await.unwrap();
    let mut again = group.post(0, "again");
    again.key = "k".to_owned();
    let mut others = group.post(1, "others");
    others.key = "k".to_owned();
    let told = store.post(&[again.clone(), others, again]).await.unwrap();
    let told: Vec<_> = told.into_iter().map(Result::unwrap).collect();
    assert_eq!(told.iter().map(|told| told.duplicate).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!((told[0].message.id, told[0].message.offset), (first.id, 1));
    assert_eq!(told[0].message.body.get(), first.body.get());
    assert_eq!(told[1].message.offset, 2);
    assert_eq!(store.position(group.channel).await.unwrap().unwrap().top, 2);
}

fn change(group: &Group, message: Id, by: usize, text: Option<&str>) -> Change {
    Change {
        workspace: group.workspace,
        channel: group.channel,
        message,
        by: group.users[by],
        body: text.map(body),
        at: NOW + 9,
    }
}

async fn an_edit_and_a_deletion_are_entries_of_their_own(place: Place) {
    let (store, group) = (&place.store, place.group(2).await);
    let first = place.post(&group, 0, "one").await.message;
    let second = place.post(&group, 0, "two").await.message;
    let done = store.change(&change(&group, first.id, 0, Some("uno"))).await.unwrap();
    let Changed::Done(entry, epoch) = done else { panic!("{done:?}") };
    assert_eq!((entry.offset, entry.kind, epoch.as_str()), (3, EntryKind::Edited, "epoch"));
    assert_eq!((entry.message.offset, entry.message.edited_at), (1, NOW + 9));
    assert_eq!(entry.message.body.get(), r#"{"text":"uno"}"#);

    let done = store.change(&change(&group, second.id, 0, None)).await.unwrap();
    let Changed::Done(entry, _) = done else { panic!("{done:?}") };
    assert_eq!((entry.offset, entry.kind), (4, EntryKind::Deleted));
    assert_eq!((entry.message.body.get(), entry.message.deleted_at), ("null", NOW + 9));

    assert!(matches!(store.change(&change(&group, second.id, 0, Some("x"))).await.unwrap(), Changed::Gone));
    assert!(matches!(store.change(&change(&group, first.id, 1, None)).await.unwrap(), Changed::Foreign));
    assert_eq!(store.change(&change(&group, Id(1), 0, None)).await.unwrap_err(), StoreError::Missing);
    let position = store.position(group.channel).await.unwrap().unwrap();
    assert_eq!((position.top, position.revised), (4, 4));

    let (_, entries) = store.entries(group.channel, None, 10, false).await.unwrap().unwrap();
    let told: Vec<_> = entries.iter().map(|e| (e.offset, e.kind, e.message.id, e.message.offset)).collect();
    assert_eq!(
        told,
        [
            (1, EntryKind::Posted, first.id, 1),
            (2, EntryKind::Posted, second.id, 2),
            (3, EntryKind::Edited, first.id, 1),
            (4, EntryKind::Deleted, second.id, 2),
        ]
    );
    assert_eq!(entries[0].message.body.get(), r#"{"text":"uno"}"#, "a message is told as it is now");
}

async fn entries_are_read_from_both_ends(place: Place) {
    let (store, group, other) = (&place.store, place.group(1).await, place.group(1).await);
    let (position, entries) = store.entries(group.channel, None, 10, false).await.unwrap().unwrap();
    assert_eq!((position.top, position.epoch.as_str(), entries.len()), (0, "epoch", 0));
    let first = place.post(&group, 0, "0").await.message.id;
    for number in 1..9 {
        place.post(&group, 0, &number.to_string()).await;
        place.post(&other, 0, "other").await;
    }
    store.change(&change(&group, first, 0, Some("x"))).await.unwrap();
    let read = async |since, limit, reverse| {
        let (position, entries) = store.entries(group.channel, since, limit, reverse).await.unwrap().unwrap();
        assert_eq!(position.top, 10);
        entries.iter().map(|entry| entry.offset).collect::<Vec<_>>()
    };
    assert_eq!(read(None, 3, false).await, [1, 2, 3]);
    assert_eq!(read(Some(3), 3, false).await, [4, 5, 6]);
    assert_eq!(read(Some(7), 100, false).await, [8, 9, 10]);
    assert_eq!(read(Some(10), 100, false).await, [0; 0]);
    assert_eq!(read(Some(u64::MAX), 100, false).await, [0; 0]);
    assert_eq!(read(None, 3, true).await, [10, 9, 8]);
    assert_eq!(read(Some(8), 3, true).await, [7, 6, 5]);
    assert_eq!(read(Some(1), 3, true).await, [0; 0]);
    assert_eq!(read(None, 0, false).await, [0; 0]);
    assert!(store.entries(Id(1), None, 10, false).await.unwrap().is_none());
}

async fn pages_run_over_messages_by_offset(place: Place) {
    let (store, group) = (&place.store, place.group(1).await);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(place.post(&group, 0, &number.to_string()).await.message.id);
        store.change(&change(&group, ids[0], 0, Some("x"))).await.unwrap();
    }
    store.change(&change(&group, ids[2], 0, None)).await.unwrap();
    // Messages are at 1, 3, 5, 7, 9.
    let read = async |from, limit| {
        let (position, messages) = store.page(group.channel, from, limit).await.unwrap().unwrap();
        assert_eq!((position.top, position.revised), (11, 11));
        messages.iter().map(|message| message.offset).collect::<Vec<_>>()
    };
    assert_eq!(read(From::End, 2).await, [9, 7]);
    assert_eq!(read(From::Before(7), 2).await, [5, 3]);
    assert_eq!(read(From::Before(3), 2).await, [1]);
    assert_eq!(read(From::Before(1), 2).await, [0; 0]);
    assert_eq!(read(From::After(0), 2).await, [1, 3]);
    assert_eq!(read(From::After(4), 9).await, [5, 7, 9]);
    assert_eq!(read(From::After(9), 9).await, [0; 0]);
    let (_, page) = store.page(group.channel, From::After(4), 1).await.unwrap().unwrap();
    assert_eq!((page[0].id, page[0].deleted_at), (ids[2], NOW + 9), "deleted ones too");
    assert!(store.page(Id(1), From::End, 1).await.unwrap().is_none());
}

async fn what_the_bus_has_not_had_is_owed(place: Place) {
    let (store, a, b) = (&place.store, place.group(1).await, place.group(1).await);
    assert!(store.unannounced(10).await.unwrap().is_empty());
    for _ in 0..3 {
        place.post(&a, 0, "a").await;
    }
    place.post(&b, 0, "b").await;
    let owed =
        |group: &Group, since| Unannounced { workspace: group.workspace, channel: group.channel, since };
    assert_eq!(store.unannounced(10).await.unwrap(), [owed(&a, 0), owed(&b, 0)]);
    assert_eq!(store.unannounced(1).await.unwrap().len(), 1);
    store.announced(&[(a.channel, 2), (b.channel, 1)]).await.unwrap();
    assert_eq!(store.unannounced(10).await.unwrap(), [owed(&a, 2)]);
    store.announced(&[(a.channel, 1)]).await.unwrap();
    assert_eq!(store.unannounced(10).await.unwrap(), [owed(&a, 2)], "never back");
    store.announced(&[(a.channel, 99)]).await.unwrap();
    assert_eq!(store.position(a.channel).await.unwrap().unwrap().announced, 3, "never beyond the top");
    assert!(store.unannounced(10).await.unwrap().is_empty());
    store.index(100).await.unwrap();
    assert!(store.unannounced(10).await.unwrap().is_empty());
    store.announced(&[]).await.unwrap();
}

async fn an_epoch_is_renewed_once(place: Place) {
    let (store, group) = (&place.store, place.group(1).await);
    place.post(&group, 0, "a").await;
    store.open_stream(group.workspace, group.channel, "other").await.unwrap();
    let epoch = async || store.position(group.channel).await.unwrap().unwrap().epoch;
    assert_eq!(epoch().await, "epoch", "one that exists stays");
    store.renew(group.channel, "epoch", "second").await.unwrap();
    store.renew(group.channel, "epoch", "third").await.unwrap();
    assert_eq!(epoch().await, "second");
    let posted = place.post(&group, 0, "b").await;
    assert_eq!((posted.epoch.as_str(), posted.message.offset), ("second", 2));
}
