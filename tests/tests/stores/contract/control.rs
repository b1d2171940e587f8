//! Routes, keys, numbers of nodes.

use nodes::model::{Id, Workspace};
use nodes::store::{Route, SigningKey, StoreError};

use crate::place::{NOW, Place, id};

super::on_each! {
    a_route_is_found_by_id_and_by_name_and_its_name_is_taken_once
    routes_are_listed_by_id
    of_two_nodes_that_rotate_at_once_one_adds_a_key
    numbers_are_leased_once_and_come_back_when_their_time_is_over
    a_cluster_keeps_its_number_of_databases
}

fn route(name: &str) -> Route {
    let workspace = Workspace { id: id(), name: name.to_owned(), created_at: NOW };
    Route { workspace, cluster: "one".to_owned(), moving_to: None }
}

async fn a_route_is_found_by_id_and_by_name_and_its_name_is_taken_once(place: Place) {
    let (store, route) = (&place.store, route("acme"));
    store.add_route(&route).await.unwrap();
    assert_eq!(store.route(route.workspace.id).await.unwrap().as_ref(), Some(&route));
    assert_eq!(store.route_by_name("acme").await.unwrap().as_ref(), Some(&route));
    assert_eq!(store.route_by_name("other").await.unwrap(), None);
    assert_eq!(store.add_route(&self::route("acme")).await, Err(StoreError::Exists));

    store.set_route(route.workspace.id, "one", Some("two")).await.unwrap();
    let moving = store.route(route.workspace.id).await.unwrap().unwrap();
    assert_eq!((moving.cluster.as_str(), moving.moving_to.as_deref()), ("one", Some("two")));
    store.set_route(route.workspace.id, "two", None).await.unwrap();
    let moved = store.route(route.workspace.id).await.unwrap().unwrap();
    assert_eq!((moved.cluster.as_str(), moved.moving_to), ("two", None));
    assert_eq!(store.set_route(Id(1), "two", None).await, Err(StoreError::Missing));
}

async fn routes_are_listed_by_id(place: Place) {
    let mut all = Vec::new();
    for number in 0..5 {
        let route = route(&format!("w{number}"));
        place.store.add_route(&route).await.unwrap();
        all.push(route);
    }
    assert_eq!(place.store.routes(Id(0), 3).await.unwrap(), all[..3]);
    assert_eq!(place.store.routes(all[2].workspace.id, 3).await.unwrap(), all[3..]);
}

async fn of_two_nodes_that_rotate_at_once_one_adds_a_key(place: Place) {
    let other = place.again().await;
    let key = |id: &str, from| SigningKey {
        id: id.to_owned(),
        private: vec![1, 2, 3],
        signs_from: from,
        ends_at: from + 100,
    };
    let (a, b) = (key("a", NOW), key("b", NOW));
    let (first, second) = tokio::join!(place.store.add_key(&a, NOW - 1), other.add_key(&b, NOW - 1));
    assert_ne!(first.unwrap(), second.unwrap());
    let later = key("c", NOW + 50);
    assert!(place.store.add_key(&later, NOW).await.unwrap());

    let keys = other.keys(NOW).await.unwrap();
    assert_eq!(keys.iter().map(|key| key.signs_from).collect::<Vec<_>>(), [NOW, NOW + 50]);
    assert_eq!(keys[1], later);
    assert_eq!(other.keys(NOW + 101).await.unwrap().len(), 1);
    other.drop_keys(NOW + 101).await.unwrap();
    assert_eq!(place.store.keys(0).await.unwrap(), [later]);
}

async fn numbers_are_leased_once_and_come_back_when_their_time_is_over(place: Place) {
    let stores = [place.again().await, place.again().await, place.again().await];
    let mut tasks = Vec::new();
    for number in 0..12 {
        let store = stores[number % stores.len()].clone();
        tasks.push(tokio::spawn(async move {
            store.lease_number(&format!("node {number}"), NOW, NOW + 100, 10).await.unwrap()
        }));
    }
    let mut taken = Vec::new();
    for task in tasks {
        taken.push(task.await.unwrap());
    }
    let mut numbers: Vec<u16> = taken.iter().copied().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<u16>>());

    let holder = taken.iter().position(|number| *number == Some(4)).unwrap();
    let renew = |now: i64| place.store.lease_number("new", now, now + 100, 10);
    assert_eq!(renew(NOW + 100).await.unwrap(), None, "all are still leased");
    let renewed = stores[0].lease_number(&format!("node {holder}"), NOW + 50, NOW + 500, 10).await.unwrap();
    assert_eq!(renewed, Some(4));
    assert_eq!(renew(NOW + 101).await.unwrap(), Some(0));
    assert_eq!(renew(NOW + 102).await.unwrap(), Some(0), "it keeps its own");
}

async fn a_cluster_keeps_its_number_of_databases(place: Place) {
    assert_eq!(place.store.shards("one", 3).await.unwrap(), 3);
    assert_eq!(place.again().await.shards("one", 4).await.unwrap(), 3);
    assert_eq!(place.store.shards("two", 1).await.unwrap(), 1);
}
