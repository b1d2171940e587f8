//! A link of this program's own into the bus: questions go in as a shard's would, answers come back by their number.
//!
//! Owns the waiting, with a bound and a deadline. Never knows what a bus is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use relay::{LinkId, Transmit};
use tokio::sync::{Notify, oneshot};
use tokio::time;
use wire::code::{self, ErrorCode};
use wire::frame;
use wire::link::{ToRelay, ToShard};

use crate::limits::{API_ANSWER_WITHIN, API_QUESTIONS_MAX};
use crate::state::Relay;

/// The link and who waits for what. No link before [`Relay::listen`] has begun.
#[derive(Debug, Default)]
pub(crate) struct Line {
    link: AtomicU32,
    last: AtomicU32,
    waiting: Mutex<HashMap<u32, oneshot::Sender<Vec<u8>>>>,
    waker: Notify,
}

/// A question that has been put. Dropping it gives up.
pub(crate) struct Asked<'r> {
    line: &'r Line,
    request: u32,
    answer: oneshot::Receiver<Vec<u8>>,
}

/// An answer as it came.
pub(crate) struct Told(Vec<u8>);

impl Told {
    /// What it says; a refusal is an error.
    pub(crate) fn message(&self) -> Result<ToShard<'_>, ErrorCode> {
        match frame::decode(&self.0) {
            Ok(ToShard::Failed { code, .. }) => Err(code::error(code)),
            Ok(message) => Ok(message),
            Err(_) => Err(code::INTERNAL),
        }
    }
}

impl Asked<'_> {
    /// Waits for the answer.
    pub(crate) async fn told(mut self) -> Result<Told, ErrorCode> {
        let answer = time::timeout(API_ANSWER_WITHIN, &mut self.answer).await;
        answer.ok().and_then(Result::ok).map(Told).ok_or(code::INTERNAL)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.line.lock().remove(&self.request);
    }
}

impl Line {
    /// Whether a link is this one; then whoever listens is woken.
    pub(crate) fn wake(&self, link: LinkId) -> bool {
        let own = link == self.link();
        if own {
            self.waker.notify_one();
        }
        own
    }

    fn link(&self) -> LinkId {
        LinkId(self.link.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<Vec<u8>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands every answer in the frames to who waits for it.
    fn dispatch(&self, mut frames: &[u8]) {
        let mut waiting = self.lock();
        while let Ok(Some((body, after))) = frame::split(frames) {
            let request = frame::decode::<ToShard<'_>>(body).ok().and_then(|message| request_of(&message));
            if let Some(asker) = request.and_then(|request| waiting.remove(&request)) {
                // Who has given up has no use for it.
                let _ = asker.send(body.to_vec());
            }
            frames = after;
        }
    }
}

impl Relay {
    /// Puts a question to the bus. Questions are put in the order of these calls.
    pub(crate) fn ask<'a>(&self, question: impl FnOnce(u32) -> ToRelay<'a>) -> Result<Asked<'_>, ErrorCode> {
        let line = &self.line;
        let link = line.link();
        if self.congested(link) {
            return Err(code::TOO_MANY_REQUESTS);
        }
        let request = line.last.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        {
            let mut waiting = line.lock();
            if waiting.len() >= API_QUESTIONS_MAX {
                return Err(code::TOO_MANY_REQUESTS);
            }
            waiting.insert(request, asker);
        }
        let asked = Asked { line, request, answer };
        self.say(link, &question(request));
        Ok(asked)
    }

    /// Hands out answers until the task is dropped. A link that fell too far behind is made anew, and its questions fail.
    pub(crate) async fn listen(&self) {
        let mut out = Vec::new();
        loop {
            let link = self.open_own();
            self.line.link.store(link.0, Ordering::Relaxed);
            loop {
                match self.transmit(link, &mut out) {
                    Transmit::Write => self.line.dispatch(&out),
                    Transmit::Idle => self.line.waker.notified().await,
                    Transmit::Close => break,
                }
            }
            self.close(link);
            self.line.lock().clear();
        }
    }
}

/// Which question a message answers.
const fn request_of(message: &ToShard<'_>) -> Option<u32> {
    match message {
        ToShard::Published { request, .. }
        | ToShard::History { request, .. }
        | ToShard::Presence { request, .. }
        | ToShard::PresenceStats { request, .. }
        | ToShard::Done { request }
        | ToShard::Surveyed { request, .. }
        | ToShard::Failed { request, .. } => Some(*request),
        _ => None,
    }
}
