//! The progress bar: on a terminal only, never in a pipe or a log.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// What the run is doing now.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// `total` steps of `what`.
    pub fn new(what: &'static str, total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style =
            ProgressStyle::with_template("{msg:<22} [{bar:40}] {human_pos}/{human_len} {per_sec} {eta}")
                .expect("invariant: the template is a constant");
        let bar = ProgressBar::new(total).with_message(what);
        bar.set_style(style.progress_chars("=> "));
        Self(bar)
    }

    /// So many of them are done.
    pub fn at(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
