//! What tells relays, over a real store and a relay that hears, refuses and goes away as a test wants.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router as Routes};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time;

use super::*;
use crate::model::{Channel, ChannelKind, Delivery, Entry, EntryKind, Id, User, Workspace};
use crate::store::route::Router;
use crate::store::{self, Post, Route, Store};

const WORKSPACE: Id = Id(7);
const CHANNEL: Id = Id(70);
const ANN: Id = Id(1);
const BEN: Id = Id(2);

/// A relay's server API: what it was told, in order. While it refuses, every command is an error.
#[derive(Clone, Default)]
struct Relay {
    told: Arc<Mutex<Vec<Value>>>,
    refuses: Arc<AtomicBool>,
    /// Requests that it has refused.
    refused: Arc<AtomicU32>,
}

impl Relay {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, relay) = (listener.local_addr().unwrap(), self.clone());
        let batch = move |Json(body): Json<Value>| async move {
            let commands = body["commands"].as_array().unwrap().clone();
            let refuses = relay.refuses.load(Ordering::Relaxed);
            let reply = |_| {
                if refuses { json!({ "error": { "code": 100, "message": "not now" } }) } else { json!({}) }
            };
            let replies: Vec<Value> = commands.iter().map(reply).collect();
            relay.refused.fetch_add(u32::from(refuses), Ordering::Relaxed);
            if !refuses {
                relay.told.lock().unwrap().extend(commands);
            }
            Json(json!({ "replies": replies }))
        };
        let routes = Routes::new().route("/api/batch", post(batch));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        address
    }

    /// Offsets as they were announced.
    fn offsets(&self) -> Vec<u64> {
        let told = self.told.lock().unwrap();
        told.iter().filter_map(|command| command["announce"]["publication"]["offset"].as_u64()).collect()
    }

    fn moves(&self) -> Vec<(String, String)> {
        let told = self.told.lock().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let all = told.iter().flat_map(|command| command.as_object().unwrap());
        let moves = all.filter(|(method, _)| method.ends_with("subscribe"));
        moves.map(|(method, wanted)| (method.clone(), text(&wanted["channel"]))).collect()
    }
}

struct Scene {
    store: Arc<dyn Store>,
    dispatch: Dispatch,
    teller: Arc<Teller>,
    _serving: JoinHandle<()>,
    folder: PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn group() -> Channel {
    Channel {
        id: CHANNEL,
        workspace: WORKSPACE,
        kind: ChannelKind::Group,
        name: "all".to_owned(),
        delivery: Delivery::Persist,
        created_by: ANN,
        created_at: 1,
    }
}

fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("headland-relays-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A store with a group of two, before anybody tells anything.
async fn stored() -> (PathBuf, Arc<dyn Store>) {
    let folder = folder();
    let store = store::open(&format!("sqlite:{}", folder.join("store.db").display())).await.unwrap();
    let workspace = Workspace { id: WORKSPACE, name: "acme".to_owned(), created_at: 1 };
    let route = Route { workspace: workspace.clone(), cluster: "only".to_owned(), moving_to: None };
    store.add_route(&route).await.unwrap();
    store.add_workspace(&workspace).await.unwrap();
    for (id, name) in [(ANN, "ann"), (BEN, "ben")] {
        let (name, display_name) = (name.to_owned(), name.to_owned());
        let user = User { id, workspace: WORKSPACE, name, display_name, created_at: 1 };
        store.add_user(&user, "hash").await.unwrap();
    }
    store.open_stream(WORKSPACE, CHANNEL, "abcdEFGH").await.unwrap();
    store.add_group(&group(), &[ANN, BEN]).await.unwrap();
    (folder, store)
}

async fn say(store: &dyn Store, number: i64) -> Entry {
    let post = Post {
        id: Id(100 + number),
        workspace: WORKSPACE,
        channel: CHANNEL,
        sender: ANN,
        key: number.to_string(),
        body: RawValue::from_string(number.to_string()).unwrap(),
        media: String::new(),
        at: number,
    };
    let posted = store.post(&[post]).await.unwrap().remove(0).unwrap();
    Entry { offset: posted.message.offset, kind: EntryKind::Posted, message: posted.message }
}

async fn serve((folder, store): (PathBuf, Arc<dyn Store>), relays: &[SocketAddr]) -> Scene {
    let clusters = vec![("only".to_owned(), vec![Arc::clone(&store)])];
    let router = Arc::new(Router::new(Arc::clone(&store), clusters).await.unwrap());
    let (dispatch, work) = Dispatch::new();
    let teller = Arc::new(Teller::new(router, Api::new(relays, b"key"), &work));
    let serving = Arc::clone(&teller);
    let serving = tokio::spawn(async move { serving.serve(work, || 1_000_000).await });
    Scene { store, dispatch, teller, _serving: serving, folder }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited for {what}"));
}

async fn all_announced(scene: &Scene) {
    until("everything to be announced", async || scene.store.unannounced(10).await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn what_was_left_by_a_node_that_died_is_announced_in_order_at_the_start_of_the_next() {
    let (relay, stored) = (Relay::default(), stored().await);
    for number in 1..=300 {
        say(&*stored.1, number).await;
    }
    let scene = serve(stored, &[relay.start().await]).await;
    all_announced(&scene).await;
    assert_eq!(relay.offsets(), (1..=300).collect::<Vec<_>>());
    let listed = scene.store.conversations(WORKSPACE, BEN, None, 1).await.unwrap();
    assert_eq!(listed[0].last.as_ref().map(|last| last.offset), Some(300), "the list knows of it");
    assert_eq!(scene.teller.counters.swept.load(Ordering::Relaxed), 300);
}

#[tokio::test]
async fn what_a_relay_does_not_take_is_told_again_until_it_does() {
    let relay = Relay::default();
    relay.refuses.store(true, Ordering::Relaxed);
    let scene = serve(stored().await, &[relay.start().await]).await;
    for number in 1..=3 {
        let entry = say(&*scene.store, number).await;
        scene.dispatch.committed(WORKSPACE, &group(), "abcdEFGH", entry);
    }
    let failed = &scene.teller.counters.failed;
    until("refusals", async || failed.load(Ordering::Relaxed) >= 3).await;
    assert_eq!(scene.store.unannounced(10).await.unwrap().len(), 1, "nothing counts as announced");
    relay.refuses.store(false, Ordering::Relaxed);
    all_announced(&scene).await;
    let mut offsets = relay.offsets();
    offsets.dedup();
    assert_eq!(offsets, [1, 2, 3]);
}

#[tokio::test]
async fn a_relay_that_is_away_is_left_for_the_next_one() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let relay = Relay::default();
    let scene = serve(stored().await, &[nobody, relay.start().await]).await;
    let entry = say(&*scene.store, 1).await;
    scene.dispatch.committed(WORKSPACE, &group(), "abcdEFGH", entry);
    all_announced(&scene).await;
    assert_eq!(relay.offsets(), [1]);
    assert!(scene.teller.is_up());
}

#[tokio::test]
async fn entries_that_were_said_out_of_order_go_in_order() {
    let relay = Relay::default();
    let stored = stored().await;
    let mut entries = Vec::new();
    for number in 1..=20 {
        entries.push(say(&*stored.1, number).await);
    }
    // As if a sweep had announced them: only what is said now is told.
    stored.1.announced(&[(CHANNEL, 20)]).await.unwrap();
    let scene = serve(stored, &[relay.start().await]).await;
    for entry in entries.into_iter().rev() {
        scene.dispatch.committed(WORKSPACE, &group(), "abcdEFGH", entry);
    }
    until("all of them", async || relay.offsets().len() == 20).await;
    assert!(relay.offsets().is_sorted(), "{:?}", relay.offsets());
}

#[tokio::test]
async fn a_change_of_membership_is_told_until_it_is_heard_as_it_is_then() {
    let relay = Relay::default();
    relay.refuses.store(true, Ordering::Relaxed);
    let scene = serve(stored().await, &[relay.start().await]).await;
    assert!(scene.store.remove_member(WORKSPACE, CHANNEL, BEN, 5).await.unwrap());
    scene.dispatch.membership();
    until("a refusal", async || relay.refused.load(Ordering::Relaxed) > 0).await;
    let waiting = scene.store.notices(i64::MAX, 10).await.unwrap();
    assert!(!waiting.is_empty(), "notices stay while nobody hears them");
    relay.refuses.store(false, Ordering::Relaxed);
    until("the notices to be told", async || scene.store.notices(i64::MAX, 10).await.unwrap().is_empty())
        .await;
    let moves = relay.moves();
    let said = |method: &str, channel: &str| moves.contains(&(method.to_owned(), channel.to_owned()));
    assert!(said("subscribe", "chat:7.70"), "of ann: {moves:?}");
    assert!(said("unsubscribe", "chat:7.70") && said("unsubscribe", "live:7.70"), "of ben: {moves:?}");
    assert_eq!(moves.iter().filter(|(method, _)| method == "subscribe").count(), 1, "{moves:?}");
}

#[tokio::test]
async fn with_nobody_to_tell_the_list_of_conversations_is_told_and_nothing_waits() {
    let scene = serve(stored().await, &[]).await;
    let entry = say(&*scene.store, 1).await;
    scene.dispatch.committed(WORKSPACE, &group(), "abcdEFGH", entry);
    all_announced(&scene).await;
    let listed = scene.store.conversations(WORKSPACE, ANN, None, 1).await.unwrap();
    assert!(listed[0].last.is_some());
}
