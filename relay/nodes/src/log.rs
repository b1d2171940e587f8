//! The log: one line per event on standard error. Whoever runs the program adds the time.

/// Writes one line. A reader that is gone loses the line and nothing else.
pub(crate) fn line(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "headland-node: {text}");
}

/// `log!("key {id} signs")`.
macro_rules! log {
    ($($text:tt)*) => { $crate::log::line(format_args!($($text)*)) };
}
pub(crate) use log;
