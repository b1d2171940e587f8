//! Users, channels, members, conversations.

use std::collections::BTreeSet;

use nodes::model::{ChannelKind, Id, Notify, User, Workspace};
use nodes::store::{Latest, Preferences, Session, StoreError};

use crate::place::{NOW, Place, channel, id};

super::on_each! {
    users_are_found_by_id_and_name_within_their_workspace
    a_refresh_token_is_taken_once
    a_user_keeps_a_bounded_number_of_refresh_tokens
    a_group_begins_with_its_members_and_their_notices
    a_direct_message_is_one_for_each_pair_however_many_open_it
    a_direct_message_with_oneself_has_one_member
    memberships_begin_and_end_with_notices
    preferences_change_what_is_said_and_leave_the_rest
    marks_move_forward_only
    conversations_are_listed_by_their_latest_message
    nothing_of_one_workspace_is_seen_from_another
}

async fn users_are_found_by_id_and_name_within_their_workspace(place: Place) {
    let store = &place.store;
    let group = place.group(3).await;
    let workspace = Workspace { id: group.workspace, name: "again".to_owned(), created_at: NOW };
    store.add_workspace(&workspace).await.unwrap();
    let user = User {
        id: id(),
        workspace: group.workspace,
        name: "ada".to_owned(),
        display_name: "Ada Ł.".to_owned(),
        created_at: NOW,
    };
    store.add_user(&user, "$argon2id$").await.unwrap();
    assert_eq!(store.user(group.workspace, user.id).await.unwrap().as_ref(), Some(&user));
    let (found, hash) = store.user_by_name(group.workspace, "ada").await.unwrap().unwrap();
    assert_eq!((found, hash.as_str()), (user.clone(), "$argon2id$"));
    assert!(store.user_by_name(group.workspace, "Ada").await.unwrap().is_none());
    let twin = User { id: id(), ..user.clone() };
    assert_eq!(store.add_user(&twin, "x").await, Err(StoreError::Exists));

    store.rename_user(group.workspace, user.id, "A.").await.unwrap();
    assert_eq!(store.user(group.workspace, user.id).await.unwrap().unwrap().display_name, "A.");
    assert_eq!(store.rename_user(group.workspace, Id(1), "A.").await, Err(StoreError::Missing));

    let mut seen = Vec::new();
    while let Some(page) =
        Some(store.users(group.workspace, seen.last().copied().unwrap_or(Id(0)), 3).await.unwrap())
            .filter(|page| !page.is_empty())
    {
        seen.extend(page.into_iter().map(|user| user.id));
    }
    assert_eq!(seen, [group.users[0], group.users[1], group.users[2], user.id]);
}

async fn a_refresh_token_is_taken_once(place: Place) {
    let group = place.group(1).await;
    let session = Session { hash: [7; 32], user: group.users[0], ends_at: NOW + 10 };
    place.store.add_session(group.workspace, &session).await.unwrap();
    let (a, b) = (place.again().await, place.again().await);
    let (first, second) = tokio::join!(
        a.take_session(group.workspace, &session.hash, NOW),
        b.take_session(group.workspace, &session.hash, NOW)
    );
    let taken: Vec<Id> = [first.unwrap(), second.unwrap()].into_iter().flatten().collect();
    assert_eq!(taken, [group.users[0]]);

    place.store.add_session(group.workspace, &session).await.unwrap();
    assert_eq!(place.store.take_session(group.workspace, &session.hash, NOW + 11).await.unwrap(), None);
    place.store.add_session(group.workspace, &session).await.unwrap();
    assert_eq!(place.store.take_session(Id(1), &session.hash, NOW).await.unwrap(), None);
}

async fn a_user_keeps_a_bounded_number_of_refresh_tokens(place: Place) {
    let group = place.group(2).await;
    let most = u8::try_from(nodes::store::limits::SESSIONS_PER_USER_MAX).unwrap();
    let session =
        |number: u8| Session { hash: [number; 32], user: group.users[0], ends_at: NOW + i64::from(number) };
    let other = Session { hash: [255; 32], user: group.users[1], ends_at: NOW };
    place.store.add_session(group.workspace, &other).await.unwrap();
    for number in 0..=most {
        place.store.add_session(group.workspace, &session(number)).await.unwrap();
    }
    let take = async |session: &Session| {
        place.store.take_session(group.workspace, &session.hash, NOW).await.unwrap().is_some()
    };
    assert!(!take(&session(0)).await, "the one that would have ended first");
    assert!(take(&session(1)).await && take(&session(most)).await && take(&other).await);
}

async fn a_group_begins_with_its_members_and_their_notices(place: Place) {
    let store = &place.store;
    let group = place.group(3).await;
    let made = store.channel(group.workspace, group.channel).await.unwrap().unwrap();
    assert_eq!((made.kind, made.created_by), (ChannelKind::Group, group.users[0]));
    let members = store.members(group.workspace, group.channel, Id(0), 10).await.unwrap();
    assert_eq!(members.iter().map(|member| member.user).collect::<Vec<_>>(), group.users);
    assert!(members.iter().all(|member| member.channel == group.channel && member.last_read == 0));
    let after = store.members(group.workspace, group.channel, group.users[0], 1).await.unwrap();
    assert_eq!(after[0].user, group.users[1]);
    let told: BTreeSet<Id> =
        store.notices(NOW + 1, 10).await.unwrap().into_iter().map(|notice| notice.user).collect();
    assert_eq!(told, group.users.iter().copied().collect());

    let strange = channel(group.workspace, group.users[0], ChannelKind::Group);
    assert_eq!(store.add_group(&strange, &[Id(1)]).await, Err(StoreError::Missing));
    assert!(store.channel(group.workspace, strange.id).await.unwrap().is_none(), "nothing of it stays");
    assert_eq!(store.add_group(&made, &[]).await, Err(StoreError::Exists));

    store.rename_channel(group.workspace, group.channel, "other").await.unwrap();
    assert_eq!(store.channel(group.workspace, group.channel).await.unwrap().unwrap().name, "other");
    assert_eq!(store.rename_channel(group.workspace, Id(1), "x").await, Err(StoreError::Missing));
}

async fn a_direct_message_is_one_for_each_pair_however_many_open_it(place: Place) {
    let group = place.group(2).await;
    let stores = [place.again().await, place.again().await, place.again().await];
    let mut tasks = Vec::new();
    for number in 0..30 {
        let store = stores[number % stores.len()].clone();
        let (by, other) = (group.users[number % 2], group.users[(number + 1) % 2]);
        let wanted = channel(group.workspace, by, ChannelKind::Dm);
        tasks.push(tokio::spawn(async move { store.open_dm(&wanted, other).await.unwrap() }));
    }
    let (mut channels, mut made) = (BTreeSet::new(), 0);
    for task in tasks {
        let (channel, new) = task.await.unwrap();
        channels.insert(channel.id);
        made += usize::from(new);
    }
    assert_eq!((channels.len(), made), (1, 1));
    let dm = channels.pop_first().unwrap();
    assert_eq!(place.store.members(group.workspace, dm, Id(0), 10).await.unwrap().len(), 2);
    let listed = place.store.conversations(group.workspace, group.users[0], None, 10).await.unwrap();
    let listed = listed.into_iter().find(|conversation| conversation.channel.id == dm).unwrap();
    assert_eq!(listed.peer, Some(group.users[1]));

    let strange = channel(group.workspace, group.users[0], ChannelKind::Dm);
    assert_eq!(place.store.open_dm(&strange, Id(1)).await.unwrap_err(), StoreError::Missing);
}

async fn a_direct_message_with_oneself_has_one_member(place: Place) {
    let group = place.group(1).await;
    let wanted = channel(group.workspace, group.users[0], ChannelKind::Dm);
    let (made, new) = place.store.open_dm(&wanted, group.users[0]).await.unwrap();
    assert!(new && made == wanted);
    assert_eq!(place.store.members(group.workspace, made.id, Id(0), 10).await.unwrap().len(), 1);
}

async fn memberships_begin_and_end_with_notices(place: Place) {
    let store = &place.store;
    let group = place.group(1).await;
    let user = place.user(group.workspace).await;
    store.drop_notices(&numbers(&store.notices(NOW + 1, 10).await.unwrap())).await.unwrap();

    assert!(!store.standing(group.workspace, group.channel, user).await.unwrap().unwrap().member);
    assert!(store.add_member(group.workspace, group.channel, user, NOW + 5, 42).await.unwrap());
    assert!(!store.add_member(group.workspace, group.channel, user, NOW + 6, 50).await.unwrap());
    let member = store.member(group.workspace, group.channel, user).await.unwrap().unwrap();
    assert_eq!((member.joined_at, member.last_read, member.delivered), (NOW + 5, 42, 42));
    assert!(store.standing(group.workspace, group.channel, user).await.unwrap().unwrap().member);
    let mine = store.memberships(group.workspace, user, Id(0), 10).await.unwrap();
    assert_eq!(mine.iter().map(|(channel, _)| channel.id).collect::<Vec<_>>(), [group.channel]);

    assert!(store.remove_member(group.workspace, group.channel, user, NOW + 7).await.unwrap());
    assert!(!store.remove_member(group.workspace, group.channel, user, NOW + 8).await.unwrap());
    assert!(store.member(group.workspace, group.channel, user).await.unwrap().is_none());

    assert!(store.notices(NOW + 5, 10).await.unwrap().is_empty());
    let notices = store.notices(NOW + 8, 10).await.unwrap();
    let about: Vec<_> = notices.iter().map(|n| (n.workspace, n.channel, n.user, n.at)).collect();
    let expected = |at| (group.workspace, group.channel, user, at);
    assert_eq!(about, [expected(NOW + 5), expected(NOW + 7)]);
    store.drop_notices(&numbers(&notices[..1])).await.unwrap();
    assert_eq!(store.notices(NOW + 8, 10).await.unwrap(), notices[1..]);

    let add = store.add_member(group.workspace, group.channel, Id(1), NOW, 0).await;
    assert_eq!(add, Err(StoreError::Missing));
    let add = store.add_member(group.workspace, Id(1), user, NOW, 0).await;
    assert_eq!(add, Err(StoreError::Missing));
}

fn numbers(notices: &[nodes::store::Notice]) -> Vec<u64> {
    notices.iter().map(|notice| notice.number).collect()
}

async fn preferences_change_what_is_said_and_leave_the_rest(place: Place) {
    let group = place.group(1).await;
    let set = async |wanted| {
        place.store.set_preferences(group.workspace, group.channel, group.users[0], wanted).await
    };
    let member = set(Preferences { muted: Some(true), ..Preferences::default() }).await.unwrap();
    assert_eq!((member.muted, member.starred, member.notify), (true, false, Notify::All));
    let wanted = Preferences { starred: Some(true), notify: Some(Notify::Mentions), muted: None };
    let member = set(wanted).await.unwrap();
    assert_eq!((member.muted, member.starred, member.notify), (true, true, Notify::Mentions));
    let read = place.store.member(group.workspace, group.channel, group.users[0]).await.unwrap();
    assert_eq!(read, Some(member));
    let strange = place.store.set_preferences(group.workspace, group.channel, Id(1), wanted).await;
    assert_eq!(strange, Err(StoreError::Missing));
}

async fn marks_move_forward_only(place: Place) {
    let group = place.group(1).await;
    let mark = async |read, delivered| {
        let told =
            place.store.mark(group.workspace, group.channel, group.users[0], read, delivered).await.unwrap();
        (told.last_read, told.delivered)
    };
    assert_eq!(mark(0, 5).await, (0, 5));
    assert_eq!(mark(3, 0).await, (3, 5));
    assert_eq!(mark(9, 0).await, (9, 9), "what was read has been delivered");
    assert_eq!(mark(2, 2).await, (9, 9));
    let strange = place.store.mark(group.workspace, group.channel, Id(1), 1, 1).await;
    assert_eq!(strange, Err(StoreError::Missing));
}

async fn conversations_are_listed_by_their_latest_message(place: Place) {
    let store = &place.store;
    let group = place.group(2).await;
    let user = group.users[0];
    let mut groups = vec![group.clone()];
    for _ in 0..4 {
        let another = channel(group.workspace, user, ChannelKind::Group);
        store.add_group(&another, &[]).await.unwrap();
        store.open_stream(group.workspace, another.id, "e").await.unwrap();
        groups.push(crate::place::Group { channel: another.id, ..group.clone() });
    }
    // The third gets a message at the latest time, then the first; the others have none.
    for (at, which) in [(2, 2), (1, 0)] {
        let mut message = place.post(&groups[which], 0, &format!("m{which}")).await.message;
        message.created_at = NOW + at;
        store.set_latest(group.workspace, &[Latest { top: 1, message }]).await.unwrap();
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.conversations(group.workspace, user, before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.latest_at, last.channel.id));
        seen.extend(page);
    }
    let order: Vec<Id> = seen.iter().map(|conversation| conversation.channel.id).collect();
    assert_eq!(order, [2, 0, 4, 3, 1].map(|which| groups[which].channel));
    assert_eq!(seen[0].last.as_ref().unwrap().body.get(), r#"{"text":"m2"}"#);
    assert!(seen[2].last.is_none() && seen[0].peer.is_none());
    assert_eq!((seen[0].latest_at, seen[2].latest_at), (NOW + 2, NOW));

    // An older state of the stream changes nothing.
    let mut message = seen[0].last.clone().unwrap();
    message.body = crate::place::body("stale");
    store.set_latest(group.workspace, &[Latest { top: 0, message: message.clone() }]).await.unwrap();
    let page = store.conversations(group.workspace, user, None, 1).await.unwrap();
    assert_eq!(page[0].last.as_ref().unwrap().body.get(), r#"{"text":"m2"}"#);
    message.body = crate::place::body("edited");
    store.set_latest(group.workspace, &[Latest { top: 2, message }]).await.unwrap();
    let page = store.conversations(group.workspace, user, None, 1).await.unwrap();
    assert_eq!(page[0].last.as_ref().unwrap().body.get(), r#"{"text":"edited"}"#);

    // An older message that was edited is not the last one.
    let later = place.post(&groups[2], 0, "later").await.message;
    let older = Latest { top: 4, message: page[0].last.clone().unwrap() };
    let latest = [Latest { top: 3, message: later }, older.clone()];
    store.set_latest(group.workspace, &latest).await.unwrap();
    store.set_latest(group.workspace, &[older]).await.unwrap();
    let page = store.conversations(group.workspace, user, None, 1).await.unwrap();
    assert_eq!(page[0].last.as_ref().unwrap().body.get(), r#"{"text":"later"}"#);
}

async fn nothing_of_one_workspace_is_seen_from_another(place: Place) {
    let store = &place.store;
    let (ours, theirs) = (place.group(1).await, place.group(1).await);
    let (workspace, channel, user) = (theirs.workspace, ours.channel, ours.users[0]);
    assert!(store.user(workspace, user).await.unwrap().is_none());
    assert!(store.channel(workspace, channel).await.unwrap().is_none());
    assert!(store.standing(workspace, channel, user).await.unwrap().is_none());
    assert!(store.member(workspace, channel, user).await.unwrap().is_none());
    assert!(store.members(workspace, channel, Id(0), 10).await.unwrap().is_empty());
    assert!(store.memberships(workspace, user, Id(0), 10).await.unwrap().is_empty());
    assert!(store.conversations(workspace, user, None, 10).await.unwrap().is_empty());
    assert!(!store.remove_member(workspace, channel, user, NOW).await.unwrap());
    let wrong = Err(StoreError::Missing);
    assert_eq!(store.add_member(workspace, channel, theirs.users[0], NOW, 0).await, wrong.map(|()| true));
    assert_eq!(
        store.add_member(ours.workspace, channel, theirs.users[0], NOW, 0).await,
        Err(StoreError::Missing)
    );
    assert!(store.mark(workspace, channel, user, 1, 1).await.is_err());
    assert!(store.set_preferences(workspace, channel, user, Preferences::default()).await.is_err());
}
