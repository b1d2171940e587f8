//! What can be wrong with a server, in sentences that say what to do; and how each connection is.
//!
//! Owns what is said and when: a trouble once, until it is another one or over.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::RedisError;
use tokio::time::Instant;

use crate::bus::Health;
use crate::log::log;

/// Why a connection could not be made or kept.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}: {1}")]
    Unreachable(String, String),
    #[error("{0}: no answer within {1:.1?}")]
    Silent(String, Duration),
    #[error("{0}: {1}: check bus.redis.user and bus.redis.password or password_file")]
    Login(String, String),
    #[error(
        "{0}: {1}: the user needs the keys and channels of bus.redis.prefix and the commands in relay/BUS.md"
    )]
    Rights(String, String),
    #[error("{0} is Redis {1}: the bus needs {2} or later")]
    TooOld(String, String, &'static str),
    #[error("{0} is a node of a cluster: set bus.kind = \"redis-cluster\"")]
    IsCluster(String),
    #[error("{0} is no node of a cluster: set bus.kind = \"redis\"")]
    NotCluster(String),
    #[error("{0} is a replica: name the primary, or its sentinels in bus.redis.sentinel")]
    Replica(String),
    #[error("no sentinel of {0:?} knows a primary: {1}")]
    NoPrimary(String, String),
    #[error("{0} closed the connection")]
    Closed(String),
    #[error("{0}: {1}")]
    Other(String, String),
    #[error("no longer used")]
    Unused,
}

impl Trouble {
    /// What a server's error means.
    pub(super) fn said(address: &str, text: &str) -> Self {
        let (address, text) = (address.to_owned(), text.to_owned());
        let code = text.split_whitespace().next().unwrap_or_default();
        match code {
            "WRONGPASS" | "NOAUTH" => Self::Login(address, text),
            "ERR" if text.contains("AUTH") => Self::Login(address, text),
            "NOPERM" => Self::Rights(address, text),
            _ => Self::Other(address, text),
        }
    }

    /// The same of the library's error.
    pub(super) fn of(address: &str, error: &RedisError) -> Self {
        if let redis::ErrorKind::AuthenticationFailed = error.kind() {
            return Self::Login(address.to_owned(), error.to_string());
        }
        match (error.code(), error.detail()) {
            (Some(code), detail) => Self::said(address, &format!("{code} {}", detail.unwrap_or_default())),
            (None, _) if error.is_io_error() => Self::Unreachable(address.to_owned(), error.to_string()),
            (None, _) => Self::Other(address.to_owned(), error.to_string()),
        }
    }

    /// What is said once only: of a server that is away, the first sign of it.
    fn kind(&self) -> String {
        match self {
            Self::Unreachable(address, _) | Self::Silent(address, _) | Self::Closed(address) => {
                format!("{address} is away")
            }
            Self::Login(address, _) => format!("{address} refuses"),
            other => other.to_string(),
        }
    }

    /// Whether the server is there and does not want us, so that an operator has to do something.
    pub(super) const fn refusal(&self) -> bool {
        !matches!(
            self,
            Self::Unreachable(..) | Self::Silent(..) | Self::Closed(_) | Self::Other(..) | Self::Unused
        )
    }
}

/// How one connection is.
#[derive(Debug)]
pub(super) struct Line {
    name: String,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    up: bool,
    since: Duration,
    error: Option<String>,
}

impl Line {
    /// A connection that is not there yet. `began` is what times are counted from.
    pub(super) fn new(name: String, began: Instant) -> Self {
        let state = State { up: false, since: began.elapsed(), error: None };
        Self { name, began, state: Mutex::new(state) }
    }

    /// It can be used.
    pub(super) fn up(&self, said: &Said) {
        let mut state = self.lock();
        *state = State { up: true, since: self.began.elapsed(), error: None };
        drop(state);
        said.over(&self.name);
    }

    /// It cannot, for this reason.
    pub(super) fn down(&self, trouble: &Trouble, said: &Said) {
        let text = trouble.to_string();
        let mut state = self.lock();
        let since = if state.up { self.began.elapsed() } else { state.since };
        *state = State { up: false, since, error: Some(text) };
        drop(state);
        said.say(&self.name, trouble);
    }

    pub(super) fn health(&self) -> Health {
        let state = self.lock();
        Health { name: self.name.clone(), up: state.up, since: state.since, error: state.error.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has been said and is not over.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<SaidState>);

#[derive(Debug, Default)]
struct SaidState {
    /// Connections that are down.
    down: BTreeSet<String>,
    texts: BTreeSet<String>,
}

/// Different troubles that are remembered as said.
const TEXTS_MAX: usize = 64;

impl Said {
    fn say(&self, name: &str, trouble: &Trouble) {
        let mut state = self.lock();
        state.down.insert(name.to_owned());
        if state.texts.len() < TEXTS_MAX && state.texts.insert(trouble.kind()) {
            log!("bus: {trouble}; trying again");
        }
    }

    /// Says something that is no connection's, once until all is well.
    pub(super) fn note(&self, text: &str) {
        let mut state = self.lock();
        if state.texts.len() < TEXTS_MAX && state.texts.insert(text.to_owned()) {
            log!("bus: {text}");
        }
    }

    fn over(&self, name: &str) {
        let mut state = self.lock();
        if state.down.remove(name) && state.down.is_empty() {
            state.texts.clear();
            log!("bus: every connection to Redis is up again");
        }
    }

    /// A connection that is no longer wanted.
    pub(super) fn forget(&self, name: &str) {
        self.lock().down.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, SaidState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
