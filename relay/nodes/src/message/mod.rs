//! Messages: posted, changed, read page by page.

pub mod api;
pub mod logic;
mod marks;
mod pages;
mod service;

pub use marks::{Marks, flush as flush_marks, keep as keep_marks};
pub use pages::{Pages, Served};
pub use service::{
    change, entries, keep_fast, message, new_epoch, open_stream, page, position, post, receipt,
};
