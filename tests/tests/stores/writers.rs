//! Group commit: what many who post at once are told, and what of it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nodes::model::Workspace;
use nodes::store::route::Router;
use nodes::store::write::Writers;
use nodes::store::{From, Route, Store, StoreError};

use crate::place::{Group, NOW, Place, id};

crate::contract::on_each! {
    a_thousand_keys_tried_a_hundred_times_each_at_once_make_a_thousand_messages
    offsets_have_no_gaps_however_many_nodes_write
    what_a_database_refuses_takes_nothing_else_with_it
}

/// A system of one cluster of one database, as a node sees it.
pub(crate) async fn router(store: Arc<dyn Store>) -> Arc<Router> {
    let clusters = vec![("main".to_owned(), vec![store.clone()])];
    Arc::new(Router::new(store, clusters).await.unwrap())
}

/// Makes a workspace's route.
pub(crate) async fn routed(router: &Router, group: &Group) {
    let name = group.workspace.to_string();
    let workspace = Workspace { id: group.workspace, name, created_at: NOW };
    let cluster = router.default_cluster().to_owned();
    router.control().add_route(&Route { workspace, cluster, moving_to: None }).await.unwrap();
}

async fn a_thousand_keys_tried_a_hundred_times_each_at_once_make_a_thousand_messages(place: Place) {
    const KEYS: usize = 1_000;
    const TRIES: usize = 100;
    let group = place.group(3).await;
    // Two nodes.
    let here = router(place.store.clone()).await;
    routed(&here, &group).await;
    let nodes = [Arc::new(Writers::new(here)), Arc::new(Writers::new(router(place.again().await).await))];
    let mut told: BTreeMap<usize, BTreeSet<(i64, u64)>> = BTreeMap::new();
    // As many at once as a node takes.
    for keys in (0..KEYS).collect::<Vec<_>>().chunks(40) {
        let mut tasks = Vec::new();
        for attempt in 0..TRIES {
            for key in keys {
                let mut post = group.post(key % 3, &format!("{key} for the {attempt}. time"));
                post.key = format!("key {key}");
                let (key, node) = (*key, Arc::clone(&nodes[attempt % nodes.len()]));
                tasks.push(tokio::spawn(async move { (key, node.post(post).await.unwrap()) }));
            }
        }
        let mut new = 0;
        for task in tasks {
            let (key, posted) = task.await.unwrap();
            new += usize::from(!posted.duplicate);
            told.entry(key).or_default().insert((posted.message.id.0, posted.message.offset));
        }
        assert_eq!(new, keys.len());
    }
    assert!(told.values().all(|told| told.len() == 1), "everybody is told of the same message");
    let offsets: BTreeSet<u64> = told.values().flatten().map(|(_, offset)| *offset).collect();
    assert_eq!(offsets, (1..=KEYS as u64).collect());
    assert_eq!(place.store.position(group.channel).await.unwrap().unwrap().top, KEYS as u64);
}

async fn offsets_have_no_gaps_however_many_nodes_write(place: Place) {
    const EACH: usize = 150;
    let first = place.group(1).await;
    let mut groups = vec![first.clone()];
    for _ in 0..4 {
        groups.push(Group { channel: id(), ..first.clone() });
    }
    for group in &groups {
        place.store.open_stream(group.workspace, group.channel, "e").await.unwrap();
    }
    routed(&*router(place.store.clone()).await, &first).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let node = Arc::new(Writers::new(router(place.again().await).await));
        for group in &groups {
            for _ in 0..EACH {
                let (node, post) = (Arc::clone(&node), group.post(0, "x"));
                tasks.push(tokio::spawn(async move { node.post(post).await.unwrap() }));
            }
        }
    }
    let mut told: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    for task in tasks {
        let posted = task.await.unwrap();
        assert!(told.entry(posted.message.channel).or_default().insert(posted.message.offset));
    }
    for group in &groups {
        let all: BTreeSet<u64> = (1..=3 * EACH as u64).collect();
        assert_eq!(told[&group.channel], all);
        let (position, messages) =
            place.store.page(group.channel, From::After(0), 10_000).await.unwrap().unwrap();
        assert_eq!(position.top, all.len() as u64);
        assert_eq!(messages.iter().map(|message| message.offset).collect::<BTreeSet<_>>(), all);
    }
}

async fn what_a_database_refuses_takes_nothing_else_with_it(place: Place) {
    let group = place.group(1).await;
    let router = router(place.store.clone()).await;
    routed(&router, &group).await;
    let writers = Arc::new(Writers::new(router));
    let first = writers.post(group.post(0, "first")).await.unwrap();
    let mut posts: Vec<_> = (0..20).map(|_| group.post(0, "x")).collect();
    // The id of another message.
    posts[7].id = first.message.id;
    let nowhere = Group { channel: id(), ..group.clone() };
    posts[9] = nowhere.post(0, "x");
    let tasks: Vec<_> = posts
        .into_iter()
        .map(|post| {
            let writers = Arc::clone(&writers);
            tokio::spawn(async move { writers.post(post).await })
        })
        .collect();
    let mut stored = BTreeSet::new();
    for (number, task) in tasks.into_iter().enumerate() {
        let told = task.await.unwrap();
        match number {
            7 => assert_eq!(told.unwrap_err(), StoreError::Exists),
            9 => assert_eq!(told.unwrap_err(), StoreError::Missing),
            _ => assert!(stored.insert(told.unwrap().message.offset)),
        }
    }
    assert_eq!(stored, (2..=19).collect());
    assert_eq!(writers.refusal(), None);
    let stranger = Group { workspace: id(), ..group };
    assert_eq!(writers.post(stranger.post(0, "x")).await.unwrap_err(), StoreError::Missing);
}
