//! Search, and unread counts.

use nodes::model::Id;
use nodes::store::Change;

use crate::place::{Group, NOW, Place, body, id};

super::on_each! {
    messages_are_found_by_all_words_in_the_channels_asked_for
    what_is_found_comes_newest_first_in_pages
    an_edited_message_is_found_as_it_is_and_a_deleted_one_not_at_all
    unread_messages_are_those_of_others_after_the_mark
}

async fn found(place: &Place, channels: &[Id], text: &str) -> Vec<String> {
    let messages = place.store.search(channels, text, None, 10).await.unwrap();
    let text = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["text"].clone();
    messages.iter().map(|message| text(message.body.get()).as_str().unwrap().to_owned()).collect()
}

async fn messages_are_found_by_all_words_in_the_channels_asked_for(place: Place) {
    let (a, b) = (place.group(1).await, place.group(1).await);
    for text in ["Hello World", "hello, Jürgen!", "world-wide web"] {
        place.post(&a, 0, text).await;
    }
    place.post(&b, 0, "hello from b").await;
    assert_eq!(found(&place, &[a.channel], "hello").await, [""; 0], "not yet");
    assert_eq!(place.store.index(100).await.unwrap(), 4);
    assert_eq!(place.store.index(100).await.unwrap(), 0);
    let both = [a.channel, b.channel];
    assert_eq!(found(&place, &both, "HELLO").await, ["hello from b", "hello, Jürgen!", "Hello World"]);
    assert_eq!(found(&place, &[a.channel], "hello").await, ["hello, Jürgen!", "Hello World"]);
    assert_eq!(found(&place, &both, "world hello").await, ["Hello World"]);
    assert_eq!(found(&place, &both, "jürgen").await, ["hello, Jürgen!"]);
    assert_eq!(found(&place, &both, "hell").await, [""; 0]);
    assert_eq!(found(&place, &both, "").await, [""; 0]);
    assert_eq!(found(&place, &both, "\" OR * ( ' & | ! :").await, [""; 0]);
    assert_eq!(found(&place, &both, "text").await, [""; 0], "names of members are no text");
    assert_eq!(found(&place, &[], "hello").await, [""; 0]);
    let mut many: Vec<Id> = (0..2_000).map(|_| id()).collect();
    assert_eq!(found(&place, &many, "hello").await, [""; 0]);
    many.push(b.channel);
    assert_eq!(found(&place, &many, "hello").await, ["hello from b"]);
}

async fn what_is_found_comes_newest_first_in_pages(place: Place) {
    let (a, b) = (place.group(1).await, place.group(1).await);
    let mut ids = Vec::new();
    for number in 0..300 {
        let group: &Group = if number % 3 == 0 { &b } else { &a };
        ids.push(place.post(group, 0, "same words").await.message.id);
    }
    while place.store.index(50).await.unwrap() == 50 {}
    ids.reverse();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = place.store.search(&[a.channel, b.channel], "words", before, 40).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.into_iter().map(|message| message.id));
    }
    assert_eq!(seen, ids);
    assert_eq!(place.store.search(&[b.channel], "words", None, 150).await.unwrap().len(), 100);
}

async fn an_edited_message_is_found_as_it_is_and_a_deleted_one_not_at_all(place: Place) {
    let group = place.group(1).await;
    let edited = place.post(&group, 0, "alpha").await.message.id;
    let deleted = place.post(&group, 0, "alpha").await.message.id;
    place.store.index(100).await.unwrap();
    let change = |message, text: Option<&str>| Change {
        workspace: group.workspace,
        channel: group.channel,
        message,
        by: group.users[0],
        body: text.map(body),
        at: NOW,
    };
    place.store.change(&change(deleted, None)).await.unwrap();
    assert_eq!(
        found(&place, &[group.channel], "alpha").await,
        ["alpha"],
        "a deleted message is gone at once"
    );
    place.store.change(&change(edited, Some("beta"))).await.unwrap();
    assert_eq!(place.store.index(100).await.unwrap(), 2);
    assert_eq!(found(&place, &[group.channel], "alpha").await, [""; 0]);
    assert_eq!(found(&place, &[group.channel], "beta").await, ["beta"]);
}

async fn unread_messages_are_those_of_others_after_the_mark(place: Place) {
    let (store, group) = (&place.store, place.group(2).await);
    let mut last = None;
    for number in 0..10 {
        last = Some(place.post(&group, number % 2, "x").await.message);
    }
    let last = last.unwrap();
    let change = Change {
        workspace: group.workspace,
        channel: group.channel,
        message: last.id,
        by: last.sender,
        body: None,
        at: NOW,
    };
    // Of user 1 are 2, 4, 6, 8 and 10; the last one is deleted by entry 11.
    store.change(&change).await.unwrap();
    let marks = [(group.channel, 0), (Id(1), 0), (group.channel, 4), (group.channel, 8), (group.channel, 99)];
    assert_eq!(store.unread(group.users[0], &marks, 100).await.unwrap(), [4, 0, 2, 0, 0]);
    assert_eq!(store.unread(group.users[1], &marks, 100).await.unwrap(), [5, 0, 3, 1, 0]);
    assert_eq!(store.unread(group.users[1], &marks, 3).await.unwrap(), [3, 0, 3, 1, 0]);
    assert_eq!(store.unread(Id(1), &marks[..1], 100).await.unwrap(), [9]);
    assert!(store.unread(Id(1), &[], 100).await.unwrap().is_empty());
}
