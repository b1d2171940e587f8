//! What tests that run at the same time share: started for the first of them, ended by the last.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::wait;

/// The shared one, started if nobody has it. A child ends with the thread that has started it, so that is one which outlives tests.
pub fn shared<T: Send + Sync + 'static>(
    slot: &Mutex<Weak<T>>,
    start: impl FnOnce() -> T + Send + 'static,
) -> Arc<T> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = slot.upgrade() {
        return found;
    }
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let started = Arc::new(start());
        let held = Arc::downgrade(&started);
        // Whoever waits for it is there: it holds the slot.
        let _ = sender.send(started);
        while held.strong_count() > 0 {
            wait::pause(Duration::from_millis(50));
        }
    });
    let started = receiver.recv().unwrap_or_else(|_| panic!("what is shared did not start"));
    *slot = Arc::downgrade(&started);
    started
}
