//! A database of a test's own, and what tests put into it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel as channel_of_one;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nodes::model::{Channel, ChannelKind, Delivery, Id, User, Workspace};
use nodes::store::{self, Post, Posted, Store};
use serde_json::value::RawValue;
use tests::folder::Folder;
use tests::postgres::Server;
use tests::wait;

/// A time of day of tests.
pub(crate) const NOW: i64 = 1_760_000_000_000;

/// One database, empty at first.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) store: Arc<dyn Store>,
    _folder: Option<Folder>,
    _server: Option<Arc<Server>>,
}

/// What tests that run at the same time share.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Place {
    pub(crate) async fn sqlite() -> Self {
        let folder = Folder::new().unwrap();
        let url = format!("sqlite:{}", folder.file("nodes.db").display());
        let store = store::open(&url).await.unwrap();
        Self { url, store, _folder: Some(folder), _server: None }
    }

    /// One that the caller keeps.
    pub(crate) async fn of(url: &str) -> Self {
        let store = store::open(url).await.unwrap();
        Self { url: url.to_owned(), store, _folder: None, _server: None }
    }

    pub(crate) async fn postgres() -> Self {
        let server = shared();
        let url = server.database().unwrap();
        let store = store::open(&url).await.unwrap();
        Self { url, store, _folder: None, _server: Some(server) }
    }

    /// The same database once more, as another node has it.
    pub(crate) async fn again(&self) -> Arc<dyn Store> {
        store::open(&self.url).await.unwrap()
    }

    /// A workspace with users, and a group of all of them with a stream.
    pub(crate) async fn group(&self, users: usize) -> Group {
        let workspace = Workspace { id: id(), name: format!("w{}", id()), created_at: NOW };
        self.store.add_workspace(&workspace).await.unwrap();
        let mut people = Vec::new();
        for _ in 0..users.max(1) {
            people.push(self.user(workspace.id).await);
        }
        let channel = channel(workspace.id, people[0], ChannelKind::Group);
        self.store.add_group(&channel, &people).await.unwrap();
        self.store.open_stream(workspace.id, channel.id, "epoch").await.unwrap();
        Group { workspace: workspace.id, channel: channel.id, users: people }
    }

    pub(crate) async fn user(&self, workspace: Id) -> Id {
        let user = id();
        let name = format!("u{user}");
        let user = User { id: user, workspace, display_name: name.to_uppercase(), name, created_at: NOW };
        self.store.add_user(&user, "hash").await.unwrap();
        user.id
    }

    /// Posts one message, which has to be taken.
    pub(crate) async fn post(&self, group: &Group, user: usize, text: &str) -> Posted {
        let told = self.store.post(&[group.post(user, text)]).await.unwrap();
        told.into_iter().next().unwrap().unwrap()
    }
}

/// What [`Place::group`] has made.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) workspace: Id,
    pub(crate) channel: Id,
    pub(crate) users: Vec<Id>,
}

impl Group {
    pub(crate) fn post(&self, user: usize, text: &str) -> Post {
        let id = id();
        Post {
            id,
            workspace: self.workspace,
            channel: self.channel,
            sender: self.users[user],
            key: id.to_string(),
            body: body(text),
            media: String::new(),
            at: NOW,
        }
    }
}

pub(crate) fn channel(workspace: Id, by: Id, kind: ChannelKind) -> Channel {
    let id = id();
    let name = if kind == ChannelKind::Dm { String::new() } else { format!("c{id}") };
    Channel { id, workspace, kind, name, delivery: Delivery::Persist, created_by: by, created_at: NOW }
}

pub(crate) fn body(text: &str) -> Box<RawValue> {
    RawValue::from_string(serde_json::json!({ "text": text }).to_string()).unwrap()
}

/// The shared server, started if nobody has it. A child ends with the thread that has started it, so that is one which outlives tests.
pub(crate) fn shared() -> Arc<Server> {
    let mut slot = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = slot.upgrade() {
        return found;
    }
    let (sender, receiver) = channel_of_one();
    std::thread::spawn(move || {
        let started = Arc::new(Server::start().unwrap());
        let held = Arc::downgrade(&started);
        sender.send(started).unwrap();
        while held.strong_count() > 0 {
            wait::pause(Duration::from_millis(50));
        }
    });
    let started = receiver.recv().unwrap();
    *slot = Arc::downgrade(&started);
    started
}

/// Ids that no two tests share.
pub(crate) fn id() -> Id {
    static NEXT: AtomicI64 = AtomicI64::new(1_000);
    Id(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a test on a runtime as a node's.
pub(crate) fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}
