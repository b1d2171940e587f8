//! What is read of streams, in SQLite's words.

use std::fmt::Write as _;

use super::Database;
use crate::model::Id;
use crate::store::StoreError;
use crate::store::limits::OFFSET_BITS;
use crate::store::rows::{message_columns, position_columns, signed};

impl Database {
    pub(super) async fn count_unread(
        &self,
        user: Id,
        marks: &[(Id, u64)],
        most: u32,
    ) -> Result<Vec<u32>, StoreError> {
        let mut text = String::from("[");
        for (index, (channel, mark)) in marks.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(text, "{comma}[{channel},{}]", signed((*mark).min(OFFSET_MAX)));
        }
        text.push(']');
        let counts: Vec<(i64,)> = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM (
                 SELECT 1 FROM streams s JOIN messages m
                     ON m.place > (s.number << 36) + (mark.value ->> 1) AND m.place <= (s.number << 36) + s.top
                 WHERE s.channel = (mark.value ->> 0) AND m.sender <> $2 AND m.deleted_at = 0 LIMIT $3))
             FROM json_each($1) mark ORDER BY mark.key",
        )
        .bind(text)
        .bind(user.0)
        .bind(i64::from(most))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(counts.into_iter().map(|(count,)| u32::try_from(count).unwrap_or(most)).collect())
    }
}

/// The offset of an entry that stands here.
pub(super) fn offset(place: i64) -> u64 {
    place.cast_unsigned() & OFFSET_MAX
}

pub(super) const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;
const _: () = assert!(OFFSET_BITS == 36, "the statements say 36");

macro_rules! page {
    ($low:literal, $high:literal, $order:literal) => {
        concat!(
            "SELECT ",
            position_columns!(),
            ", m.place AS at, 0 AS kind, ",
            message_columns!(),
            " FROM streams s LEFT JOIN messages m ON m.place > (s.number << 36)",
            $low,
            " AND m.place < ",
            $high,
            " WHERE s.channel = $1 ORDER BY m.place ",
            $order,
            " LIMIT $3"
        )
    };
}
pub(super) const BEFORE: &str = page!("", "(s.number << 36) + $2", "DESC");
pub(super) const AFTER: &str = page!(" + $2", "((s.number + 1) << 36)", "ASC");

macro_rules! entries {
    ($low:literal, $high:literal, $order:literal) => {
        concat!(
            "SELECT ",
            position_columns!(),
            ", e.at, e.kind, ",
            message_columns!(),
            " FROM streams s LEFT JOIN (
                 SELECT m.place AS at, 0 AS kind, m.place AS message FROM messages m
                 WHERE m.place > (SELECT number << 36 FROM streams WHERE channel = $1)",
            $low,
            " AND m.place < (SELECT ",
            $high,
            " FROM streams WHERE channel = $1)
                 UNION ALL SELECT c.place, c.kind, c.message FROM changes c
                 WHERE c.place > (SELECT number << 36 FROM streams WHERE channel = $1)",
            $low,
            " AND c.place < (SELECT ",
            $high,
            " FROM streams WHERE channel = $1)
                 ORDER BY 1 ",
            $order,
            " LIMIT $3) e LEFT JOIN messages m ON m.place = e.message
             WHERE s.channel = $1 ORDER BY e.at ",
            $order
        )
    };
}
pub(super) const ENTRIES_BEFORE: &str = entries!("", "(number << 36) + $2", "DESC");
pub(super) const ENTRIES_AFTER: &str = entries!(" + $2", "(number + 1) << 36", "ASC");

pub(super) const MESSAGE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m JOIN streams s ON s.number = m.stream WHERE m.id = $1 AND s.channel = $2"
);
