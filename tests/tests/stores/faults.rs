//! Databases that fail: what is told, how soon, and that nothing acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nodes::model::Id;
use nodes::store::write::Writers;
use nodes::store::{self, Post, StoreError};
use serde_json::value::RawValue;
use tests::disk::Disk;
use tests::postgres::Server;
use tests::wait;

use crate::place::{Group, Place, run};
use crate::writers::{routed, router};

/// How long a server may take to come back, with its recovery.
const WITHIN: Duration = Duration::from_secs(60);

/// A database of a server of its own.
async fn own(server: &Server) -> Place {
    Place::of(&server.database().unwrap()).await
}

#[test]
fn a_killed_server_is_away_at_once_and_well_again_when_it_is_back() {
    run(async {
        let mut server = Server::start().unwrap();
        let place = own(&server).await;
        let group = place.group(1).await;
        let router = router(place.store.clone()).await;
        routed(&router, &group).await;
        let writers = Arc::new(Writers::new(router));
        let (stop, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut users = Vec::new();
        for _ in 0..8 {
            users.push(tokio::spawn(user(
                Arc::clone(&writers),
                group.clone(),
                Arc::clone(&stop),
                Arc::clone(&stored),
            )));
        }
        for round in 0..2 {
            let before = stored.load(Ordering::Relaxed);
            until("messages to be stored", || stored.load(Ordering::Relaxed) > before + 50).await;
            if round == 0 {
                server.kill().unwrap();
            } else {
                server.stop().unwrap();
            }
            until("the server to be known to be away", || writers.refusal().is_some()).await;
            let since = wait::now();
            for _ in 0..100 {
                let told = writers.post(group.post(0, "x")).await.unwrap_err();
                assert!(matches!(told, StoreError::Away(_)), "{told}");
            }
            assert!(since.elapsed() < Duration::from_secs(1), "refused at once, nothing waits");
            assert!(place.store.health().await.is_err());
            server.run().unwrap();
            until("the server to be known to be back", || writers.refusal().is_none()).await;
        }
        let before = stored.load(Ordering::Relaxed);
        until("messages to be stored", || stored.load(Ordering::Relaxed) > before + 50).await;
        stop.store(true, Ordering::Relaxed);

        let mut told: BTreeMap<u64, Id> = BTreeMap::new();
        for user in users {
            for (offset, id) in user.await.unwrap() {
                assert_eq!(told.insert(offset, id), None);
            }
        }
        let (position, entries) =
            place.store.entries(group.channel, None, 1_000_000, false).await.unwrap().unwrap();
        let there: BTreeMap<u64, Id> = entries.iter().map(|e| (e.offset, e.message.id)).collect();
        assert_eq!(there.keys().copied().collect::<BTreeSet<_>>(), (1..=position.top).collect());
        let lost = told.iter().filter(|(offset, id)| there.get(offset) != Some(id)).count();
        eprintln!("{} acknowledged, {} stored, {lost} lost", told.len(), there.len());
        assert_eq!(lost, 0);
        // Every message was tried until it was acknowledged, by one key.
        assert_eq!(told.len(), there.len());
    });
}

/// Posts until told to stop, each message by one key until it is acknowledged.
async fn user(
    writers: Arc<Writers>,
    group: Group,
    stop: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
) -> BTreeMap<u64, Id> {
    let mut told = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let post = group.post(0, "x");
        loop {
            match writers.post(post.clone()).await {
                Ok(posted) => {
                    assert_eq!(posted.message.id, post.id);
                    told.insert(posted.message.offset, posted.message.id);
                    stored.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(StoreError::Away(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
    told
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = wait::now() + WITHIN;
    while !condition() {
        assert!(wait::now() < deadline, "waited {WITHIN:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_read_only_server_is_told_from_one_that_is_away() {
    run(async {
        let server = Server::start().unwrap();
        let place = own(&server).await;
        let group = place.group(1).await;
        place.post(&group, 0, "before").await;
        let set = |to: &str| {
            server
                .sql("postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {to}"))
                .unwrap();
            server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
        };
        set("on");
        let told = loop {
            // Until every session has heard of it.
            if let Err(told) = place.store.health().await {
                break told;
            }
        };
        assert!(matches!(told, StoreError::ReadOnly(_)), "{told}");
        let told = place.store.post(&[group.post(0, "x")]).await.unwrap_err();
        assert!(matches!(told, StoreError::ReadOnly(_)), "{told}");
        assert_eq!(
            place.store.position(group.channel).await.unwrap().unwrap().top,
            1,
            "it is read as before"
        );
        // A server that is read-only cannot be told so by SQL.
        std::fs::write(server.file("data/postgresql.auto.conf"), "").unwrap();
        server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
        while place.store.health().await.is_err() {}
        assert_eq!(place.post(&group, 0, "after").await.message.offset, 2);
    });
}

/// A message that does not compress.
fn large(group: &Group, seed: &mut u64) -> Post {
    let mut text = String::from("\"");
    while text.len() < 20_000 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        text.push_str(&format!("{seed:x}"));
    }
    text.push('"');
    Post { body: RawValue::from_string(text).unwrap(), ..group.post(0, "") }
}

/// Posts until the disk is full; frees some; posts again.
async fn fills(place: &Place, disk: &Disk) {
    let group = place.group(1).await;
    let (mut seed, mut stored) = (88_172_645_463_325_252, 0);
    let told = loop {
        match place.store.post(&[large(&group, &mut seed)]).await {
            Ok(mut told) => {
                stored += 1;
                assert_eq!(told.remove(0).unwrap().message.offset, stored);
            }
            Err(error) => break error,
        }
        assert!(stored < 10_000);
    };
    assert_eq!(told, StoreError::Full, "after {stored}");
    assert_eq!(
        place.store.position(group.channel).await.unwrap().unwrap().top,
        stored,
        "it is read as before"
    );
    assert_eq!(place.store.post(&[large(&group, &mut seed)]).await.unwrap_err(), StoreError::Full);
    disk.free().unwrap();
    place.store.health().await.unwrap();
    for _ in 0..3 {
        stored += 1;
        let told = place.store.post(&[large(&group, &mut seed)]).await.unwrap().remove(0).unwrap();
        assert_eq!(told.message.offset, stored);
    }
    let (_, entries) = place.store.entries(group.channel, None, 100_000, false).await.unwrap().unwrap();
    assert_eq!(entries.iter().map(|e| e.offset).collect::<Vec<_>>(), (1..=stored).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_is_told_as_that_by_sqlite() {
    run(async {
        let Some(disk) = Disk::new(8).unwrap() else { return };
        let place = Place::of(&format!("sqlite:{}", disk.file("nodes.db").display())).await;
        fills(&place, &disk).await;
    });
}

#[test]
fn a_full_disk_is_told_as_that_by_postgres() {
    run(async {
        let Some(disk) = Disk::new(40).unwrap() else { return };
        let server = Server::start().unwrap();
        let space = disk.file("space");
        std::fs::create_dir(&space).unwrap();
        server.give(&space).unwrap();
        server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", space.display())).unwrap();
        server.sql("postgres", "CREATE DATABASE small TABLESPACE small").unwrap();
        let place = Place::of(&server.url("small")).await;
        fills(&place, &disk).await;
        drop(place);
        drop(server);
    });
}

#[test]
fn a_server_that_is_not_there_is_away() {
    run(async {
        let told = store::open("postgres://u@127.0.0.1:1/d").await.unwrap_err();
        assert!(matches!(told, StoreError::Away(_)), "{told}");
        let told = store::open("sqlite:/nowhere/at/all.db").await.unwrap_err();
        assert!(matches!(told, StoreError::Away(_)), "{told}");
        assert!(matches!(store::open("mysql://u").await.unwrap_err(), StoreError::Refused(_)));
    });
}
