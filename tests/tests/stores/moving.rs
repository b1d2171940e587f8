//! A workspace that moves to another cluster while it is used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nodes::model::{Id, Workspace};
use nodes::store::moving::{abandon, move_workspace};
use nodes::store::route::Router;
use nodes::store::write::Writers;
use nodes::store::{Change, Changed, Route, StoreError};

use crate::place::{Group, NOW, Place, body, run};

/// Three databases in two clusters, and a control database.
struct World {
    control: Place,
    places: Vec<Place>,
}

impl World {
    async fn new() -> Self {
        let places = vec![Place::sqlite().await, Place::postgres().await, Place::postgres().await];
        Self { control: Place::sqlite().await, places }
    }

    /// As another node sees it.
    async fn node(&self) -> Arc<Router> {
        let mut stores = Vec::new();
        for place in &self.places {
            stores.push(place.again().await);
        }
        let two = stores.split_off(1);
        let clusters = vec![("one".to_owned(), stores), ("two".to_owned(), two)];
        Arc::new(Router::new(self.control.again().await, clusters).await.unwrap())
    }

    /// Channels of one workspace on the first cluster.
    async fn groups(&self, router: &Router, count: usize) -> Vec<Group> {
        let first = self.places[0].group(2).await;
        let workspace = Workspace { id: first.workspace, name: first.workspace.to_string(), created_at: NOW };
        let route = Route { workspace, cluster: "one".to_owned(), moving_to: None };
        router.control().add_route(&route).await.unwrap();
        let mut groups = vec![first.clone()];
        for _ in 1..count {
            let channel =
                crate::place::channel(first.workspace, first.users[0], nodes::model::ChannelKind::Group);
            self.places[0].store.add_group(&channel, &first.users).await.unwrap();
            self.places[0].store.open_stream(first.workspace, channel.id, "epoch").await.unwrap();
            groups.push(Group { channel: channel.id, ..first.clone() });
        }
        groups
    }
}

/// What was acknowledged: offsets and ids by channel.
type Told = BTreeMap<Id, BTreeMap<u64, Id>>;

/// Posts, edits and reads until told to stop.
async fn use_it(router: Arc<Router>, groups: Vec<Group>, stop: Arc<AtomicBool>) -> Told {
    let writers = Writers::new(Arc::clone(&router));
    let mut told = Told::new();
    let mut number = 0usize;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let group = &groups[number % groups.len()];
        let posted = writers.post(group.post(number % 2, &format!("word{number}"))).await.unwrap();
        assert_eq!(posted.epoch, "epoch");
        let known = told.entry(group.channel).or_default();
        assert_eq!(known.insert(posted.message.offset, posted.message.id), None);
        let store = router.shard(group.workspace, group.channel).await.unwrap();
        if number.is_multiple_of(7) {
            let change = Change {
                workspace: group.workspace,
                channel: group.channel,
                message: posted.message.id,
                by: posted.message.sender,
                body: Some(body("edited")),
                at: NOW,
            };
            match store.change(&change).await {
                Ok(Changed::Done(entry, _)) => {
                    assert_eq!(known.insert(entry.offset, entry.message.id), None);
                }
                told => assert_eq!(told.unwrap_err(), StoreError::Moving),
            }
        }
        let (position, entries) = store.entries(group.channel, None, 5, true).await.unwrap().unwrap();
        assert!(position.top >= posted.message.offset && !entries.is_empty());
        assert!(
            router
                .home(group.workspace)
                .await
                .unwrap()
                .channel(group.workspace, group.channel)
                .await
                .unwrap()
                .is_some()
        );
    }
    told
}

/// Everything acknowledged is there, once, without gaps.
async fn check(router: &Router, groups: &[Group], told: &[Told]) -> u64 {
    let mut all = 0;
    for group in groups {
        let store = router.shard(group.workspace, group.channel).await.unwrap();
        let (position, entries) =
            store.entries(group.channel, None, 1_000_000, false).await.unwrap().unwrap();
        assert_eq!(position.epoch, "epoch");
        let there: BTreeMap<u64, Id> = entries.iter().map(|entry| (entry.offset, entry.message.id)).collect();
        assert_eq!(there.keys().copied().collect::<Vec<_>>(), (1..=position.top).collect::<Vec<_>>());
        let known: BTreeMap<u64, Id> = told
            .iter()
            .filter_map(|told| told.get(&group.channel))
            .flatten()
            .map(|(a, b)| (*a, *b))
            .collect();
        assert_eq!(known, there);
        all += position.top;
    }
    all
}

#[test]
fn nothing_is_lost_while_a_workspace_moves_there_and_back_at_full_speed() {
    run(async {
        let world = World::new().await;
        let (mover, groups) = {
            let router = world.node().await;
            let groups = world.groups(&router, 6).await;
            (router, groups)
        };
        let (workspace, stop) = (groups[0].workspace, Arc::new(AtomicBool::new(false)));
        let mut users = Vec::new();
        for _ in 0..4 {
            users.push(tokio::spawn(use_it(world.node().await, groups.clone(), Arc::clone(&stop))));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        for to in ["two", "one", "two"] {
            let moved = move_workspace(&mover, workspace, to).await.unwrap();
            eprintln!("to {to}: {moved:?}");
            assert!(moved.entries > 0 && moved.rows > 0);
            let route = mover.control().route(workspace).await.unwrap().unwrap();
            assert_eq!((route.cluster.as_str(), route.moving_to), (to, None));
        }
        stop.store(true, Ordering::Relaxed);
        let mut told = Vec::new();
        for user in users {
            told.push(user.await.unwrap());
        }
        eprintln!("{} entries, none lost", check(&mover, &groups, &told).await);

        // Where it was there is nothing of it, and nothing of it is taken there.
        let old = &world.places[0].store;
        assert_eq!(old.streams(workspace, Id(0), 10).await.unwrap(), []);
        assert_eq!(old.user(workspace, groups[0].users[0]).await.unwrap(), None);
        assert_eq!(old.open_stream(workspace, groups[0].channel, "x").await, Err(StoreError::Moving));
        let home = mover.home(workspace).await.unwrap();
        assert_eq!(home.members(workspace, groups[5].channel, Id(0), 10).await.unwrap().len(), 2);
        let mut found = 0;
        for place in &world.places[1..] {
            while place.store.index(1_000).await.unwrap() > 0 {}
            let channels: Vec<Id> = groups.iter().map(|group| group.channel).collect();
            found += place.store.search(&channels, "edited", None, 1_000).await.unwrap().len();
        }
        assert!(found > 0, "what has moved can be found");
    });
}

#[test]
fn a_move_that_is_killed_at_any_moment_is_finished_by_another() {
    run(async {
        let world = World::new().await;
        let router = world.node().await;
        let groups = world.groups(&router, 4).await;
        let (workspace, stop) = (groups[0].workspace, Arc::new(AtomicBool::new(false)));
        let user = tokio::spawn(use_it(world.node().await, groups.clone(), Arc::clone(&stop)));
        let mut kills = 0;
        let mut patience = Duration::from_millis(5);
        // Each is killed a little later than the one before, until one is not.
        for to in ["two", "one"] {
            loop {
                let mover = world.node().await;
                let moving = tokio::spawn(async move { move_workspace(&mover, workspace, to).await });
                let stopper = moving.abort_handle();
                let timer = tokio::spawn(async move {
                    tokio::time::sleep(patience).await;
                    stopper.abort();
                });
                let ended = moving.await;
                timer.abort();
                match ended {
                    Ok(moved) => {
                        moved.unwrap();
                        break;
                    }
                    Err(_) => kills += 1,
                }
                patience = patience * 5 / 3;
            }
            patience = Duration::from_millis(2_010);
        }
        stop.store(true, Ordering::Relaxed);
        let told = user.await.unwrap();
        let all = check(&router, &groups, &[told]).await;
        eprintln!("{kills} killed, {all} entries, none lost");
        assert!(kills > 5);
        assert_eq!(world.places[1].store.streams(workspace, Id(0), 10).await.unwrap(), []);
    });
}

#[test]
fn a_move_can_be_abandoned() {
    run(async {
        let world = World::new().await;
        let router = world.node().await;
        let groups = world.groups(&router, 2).await;
        let workspace = groups[0].workspace;
        let writers = Writers::new(Arc::clone(&router));
        writers.post(groups[0].post(0, "before")).await.unwrap();
        // As far as a move may come before it is killed.
        router.control().set_route(workspace, "one", Some("two")).await.unwrap();
        world.places[0].store.freeze(workspace).await.unwrap();
        let blocked = world.places[0].store.post(&[groups[0].post(0, "x")]).await.unwrap().remove(0);
        assert_eq!(blocked.unwrap_err(), StoreError::Moving);
        let third = move_workspace(&router, workspace, "three").await;
        assert!(matches!(third, Err(StoreError::Refused(_))));
        abandon(&router, workspace).await.unwrap();
        assert_eq!(writers.post(groups[0].post(0, "after")).await.unwrap().message.offset, 2);
        assert_eq!(router.control().route(workspace).await.unwrap().unwrap().moving_to, None);
    });
}

#[test]
fn a_database_that_is_named_twice_is_refused() {
    run(async {
        let place = Place::sqlite().await;
        let clusters = vec![
            ("one".to_owned(), vec![place.again().await]),
            ("two".to_owned(), vec![place.again().await]),
        ];
        let refused = Router::new(place.store.clone(), clusters).await.unwrap_err();
        assert!(refused.to_string().contains("already in `one`"), "{refused}");
        let clusters = vec![("one".to_owned(), vec![place.again().await])];
        Router::new(place.store.clone(), clusters).await.unwrap();
        let other = Place::sqlite().await;
        let more = vec![("one".to_owned(), vec![place.again().await, other.store.clone()])];
        let refused = Router::new(place.store.clone(), more).await.unwrap_err();
        assert!(refused.to_string().contains("has 1 databases"), "{refused}");
    });
}
