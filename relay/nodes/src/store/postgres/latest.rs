//! The last messages of channels, for the list of conversations.

use super::Tx;
use crate::model::Id;
use crate::store::rows::signed;
use crate::store::{Latest, StoreError};

/// Of each channel the later message stays, and of one message its later state. The channels are in order, each once.
pub(super) async fn put_latest(
    tx: &mut Tx,
    workspace: Id,
    latest: &[(&Latest, String)],
) -> Result<(), StoreError> {
    let of = |value: fn(&Latest) -> i64| latest.iter().map(|(l, _)| value(l)).collect::<Vec<i64>>();
    let channels = of(|latest| latest.message.channel.0);
    sqlx::query("SELECT id FROM channels WHERE id = ANY($1) ORDER BY id FOR UPDATE")
        .bind(&channels)
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "UPDATE channels c SET latest = new.message, latest_top = new.top, latest_at = GREATEST(c.latest_at, new.at)
         FROM UNNEST($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
             new (channel, message, top, at, place)
         WHERE c.workspace = $1 AND c.id = new.channel
         AND (COALESCE((c.latest::json ->> 'offset')::bigint, 0), c.latest_top) <= (new.place, new.top)",
    )
    .bind(workspace.0)
    .bind(channels)
    .bind(latest.iter().map(|(_, text)| text.as_str()).collect::<Vec<&str>>())
    .bind(of(|latest| signed(latest.top)))
    .bind(of(|latest| latest.message.created_at))
    .bind(of(|latest| signed(latest.message.offset)))
    .execute(&mut **tx)
    .await?;
    Ok(())
}
