//! What is read of streams, in PostgreSQL's words.

use super::Database;
use crate::model::Id;
use crate::store::StoreError;
use crate::store::rows::{message_columns, position_columns, signed};

impl Database {
    pub(super) async fn count_unread(
        &self,
        user: Id,
        marks: &[(Id, u64)],
        most: u32,
    ) -> Result<Vec<u32>, StoreError> {
        let channels: Vec<i64> = marks.iter().map(|(channel, _)| channel.0).collect();
        let marks: Vec<i64> = marks.iter().map(|(_, mark)| signed(*mark)).collect();
        let counts: Vec<(i64,)> = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM (
                 SELECT 1 FROM messages m WHERE m.channel = mark.channel AND m.place > mark.place
                 AND m.sender <> $3 AND m.deleted_at = 0 LIMIT $4) counted)
             FROM UNNEST($1::bigint[], $2::bigint[]) WITH ORDINALITY mark (channel, place, number)
             ORDER BY mark.number",
        )
        .bind(channels)
        .bind(marks)
        .bind(user.0)
        .bind(i64::from(most))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(counts.into_iter().map(|(count,)| u32::try_from(count).unwrap_or(most)).collect())
    }
}

/// The offset of an entry that stands here.
pub(super) fn offset(place: i64) -> u64 {
    place.cast_unsigned()
}

pub(super) const OFFSET_MAX: u64 = i64::MAX.cast_unsigned();

macro_rules! page {
    ($than:literal, $order:literal) => {
        concat!(
            "SELECT ",
            position_columns!(),
            ", m.place AS at, 0::bigint AS kind, ",
            message_columns!(),
            " FROM streams s LEFT JOIN LATERAL (SELECT * FROM messages
                 WHERE channel = $1 AND place ",
            $than,
            " $2 ORDER BY place ",
            $order,
            " LIMIT $3) m ON true WHERE s.channel = $1 ORDER BY m.place ",
            $order
        )
    };
}
pub(super) const BEFORE: &str = page!("<", "DESC");
pub(super) const AFTER: &str = page!(">", "ASC");

macro_rules! entries {
    ($than:literal, $order:literal) => {
        concat!(
            "SELECT ",
            position_columns!(),
            ", e.at, e.kind, ",
            message_columns!(),
            " FROM streams s LEFT JOIN LATERAL (
                 (SELECT place AS at, 0::bigint AS kind, place AS message FROM messages
                  WHERE channel = $1 AND place ",
            $than,
            " $2 ORDER BY place ",
            $order,
            " LIMIT $3)
                 UNION ALL (SELECT place, kind, message FROM changes WHERE channel = $1 AND place ",
            $than,
            " $2 ORDER BY place ",
            $order,
            " LIMIT $3)
                 ORDER BY 1 ",
            $order,
            " LIMIT $3) e ON true LEFT JOIN messages m ON m.channel = $1 AND m.place = e.message
             WHERE s.channel = $1 ORDER BY e.at ",
            $order
        )
    };
}
pub(super) const ENTRIES_BEFORE: &str = entries!("<", "DESC");
pub(super) const ENTRIES_AFTER: &str = entries!(">", "ASC");

pub(super) const MESSAGE: &str =
    concat!("SELECT ", message_columns!(), " FROM messages m WHERE m.id = $1 AND m.channel = $2");
