//! The queue on a real file, drained into a real store.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use serde_json::value::RawValue;

use super::*;
use crate::store;

const WORKSPACE: Id = Id(7);
const CHANNEL: Id = Id(70);
const BOUNDS: Bounds = Bounds { messages: 100, bytes: 10_000 };

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headland-fast-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn queue(file: &Path, bounds: Bounds) -> Fast {
    Fast::new(Queue::open(file, bounds).await.unwrap())
}

async fn store(folder: &Folder) -> Arc<dyn Store> {
    let store = store::open(&format!("sqlite:{}", folder.file("store.db").display())).await.unwrap();
    store.open_stream(WORKSPACE, CHANNEL, "epoch").await.unwrap();
    store
}

fn post(number: i64, channel: Id) -> Post {
    Post {
        id: Id(number),
        workspace: WORKSPACE,
        channel,
        sender: Id(1),
        key: format!("key {number}"),
        body: RawValue::from_string(format!("{{\"number\":{number}}}")).unwrap(),
        media: String::new(),
        at: number,
    }
}

/// Drains until nothing waits; what was said of it.
async fn drained(fast: &Fast, store: &Arc<dyn Store>) -> Vec<Posted> {
    let told = Mutex::new(Vec::new());
    let shard = |_, _| std::future::ready(Ok(Arc::clone(store)));
    let whole = async {
        while fast.levels().0 > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = fast.drain(|| 1_000, shard, |_, posted| told.lock().unwrap().push(posted)) => {}
        () = whole => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{:?} wait", fast.levels()),
    }
    told.into_inner().unwrap()
}

#[tokio::test]
async fn what_was_taken_is_stored_once_and_in_order() {
    let folder = Folder::new();
    let (fast, store) = (queue(&folder.file("queue.db"), BOUNDS).await, store(&folder).await);
    for number in 1..=50 {
        let taken = fast.accept(&post(number, CHANNEL)).await.unwrap();
        assert_eq!(taken, Taken { id: Id(number), duplicate: false });
    }
    let again = Post { id: Id(99), ..post(3, CHANNEL) };
    assert_eq!(fast.accept(&again).await.unwrap(), Taken { id: Id(3), duplicate: true });
    let told = drained(&fast, &store).await;
    let offsets: Vec<(i64, u64)> =
        told.iter().map(|posted| (posted.message.id.0, posted.message.offset)).collect();
    assert_eq!(offsets, (1..=50_i64).map(|number| (number, number.unsigned_abs())).collect::<Vec<_>>());
    assert_eq!(fast.counters().stored.load(Ordering::Relaxed), 50);
    assert_eq!(store.position(CHANNEL).await.unwrap().unwrap().top, 50);
    let later = Post { id: Id(99), ..post(3, CHANNEL) };
    assert_eq!(
        fast.accept(&later).await.unwrap(),
        Taken { id: Id(3), duplicate: true },
        "keys are remembered"
    );
}

#[tokio::test]
async fn it_outlives_its_program() {
    let folder = Folder::new();
    let file = folder.file("queue.db");
    let store = store(&folder).await;
    let before = queue(&file, BOUNDS).await;
    for number in 1..=5 {
        before.accept(&post(number, CHANNEL)).await.unwrap();
    }
    drop(before);
    let after = queue(&file, BOUNDS).await;
    assert_eq!(after.levels().0, 5);
    assert_eq!(drained(&after, &store).await.len(), 5);
    assert_eq!(after.levels(), (0, 0));
}

#[tokio::test]
async fn what_finds_no_room_is_refused_before_anybody_has_seen_it() {
    let folder = Folder::new();
    let fast = queue(&folder.file("queue.db"), Bounds { messages: 3, bytes: 10_000 }).await;
    for number in 1..=3 {
        fast.accept(&post(number, CHANNEL)).await.unwrap();
    }
    assert_eq!(fast.accept(&post(4, CHANNEL)).await, Err(Refusal::Full));
    assert_eq!(fast.counters().refused.load(Ordering::Relaxed), 1);
    drained(&fast, &store(&folder).await).await;
    fast.accept(&post(4, CHANNEL)).await.unwrap();
    let narrow = queue(&folder.file("narrow.db"), Bounds { messages: 100, bytes: 30 }).await;
    narrow.accept(&post(1, CHANNEL)).await.unwrap();
    assert_eq!(narrow.accept(&post(2, CHANNEL)).await, Err(Refusal::Full), "bytes are bounded too");
}

#[tokio::test]
async fn a_message_that_no_store_takes_is_given_up_and_counted_and_others_are_stored() {
    let folder = Folder::new();
    let (fast, store) = (queue(&folder.file("queue.db"), BOUNDS).await, store(&folder).await);
    fast.accept(&post(1, Id(404))).await.unwrap();
    fast.accept(&post(2, CHANNEL)).await.unwrap();
    let told = drained(&fast, &store).await;
    assert_eq!(told.iter().map(|posted| posted.message.id).collect::<Vec<_>>(), [Id(2)]);
    assert_eq!(fast.counters().lost.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn while_the_store_is_away_all_of_it_waits() {
    let folder = Folder::new();
    let (fast, store) = (queue(&folder.file("queue.db"), BOUNDS).await, store(&folder).await);
    fast.accept(&post(1, CHANNEL)).await.unwrap();
    let tries = AtomicU32::new(0);
    let shard = |_, _| {
        let away = tries.fetch_add(1, Ordering::Relaxed) < 2;
        let answer = if away { Err(StoreError::Away("gone".to_owned())) } else { Ok(Arc::clone(&store)) };
        std::future::ready(answer)
    };
    let stored = Notify::new();
    tokio::select! {
        () = fast.drain(|| 1_000, shard, |_, _| stored.notify_one()) => {}
        () = stored.notified() => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it was not tried again"),
    }
    assert!(tries.load(Ordering::Relaxed) >= 3);
    assert_eq!(fast.counters().lost.load(Ordering::Relaxed), 0);
}
