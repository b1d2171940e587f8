//! The file that lists the edges: looked at every second, read when it is another.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time;

use super::{MeshBus, dial};
use crate::limits::MESH_FILE_EVERY;
use crate::log::log;

/// Follows the file, if there is one. A bad one changes nothing and is said once.
pub(super) async fn watch(bus: &Arc<MeshBus>) {
    let Some(file) = bus.book.file().cloned() else { return };
    let mark = || {
        let found = std::fs::metadata(&file).ok()?;
        Some((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len()))
    };
    let mut last = mark();
    let mut ticks = time::interval(MESH_FILE_EVERY);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = mark();
        if now == last {
            continue;
        }
        last = now;
        match bus.book.reread() {
            Ok(true) => {
                let edges = bus.book.list();
                log!("{}: {} edges", file.display(), edges.names().len());
                if edges.place(bus.book.me()).is_none() {
                    log!("this edge is no longer in the list: it hands over its channels; drain its gateway");
                }
                bus.change();
                dial::dial_all(bus);
            }
            Ok(false) => {}
            Err(error) => log!("the list of edges stays as it was: {error}"),
        }
    }
}
