//! The last messages of channels, for the list of conversations.

use super::Tx;
use crate::model::Id;
use crate::store::rows::signed;
use crate::store::{Latest, StoreError};

/// Of each channel the later message stays, and of one message its later state.
pub(super) async fn put_latest(
    tx: &mut Tx,
    workspace: Id,
    latest: &[(&Latest, String)],
) -> Result<(), StoreError> {
    for (latest, text) in latest {
        sqlx::query(
            "UPDATE channels SET latest = $3, latest_top = $4, latest_at = MAX(latest_at, $5)
             WHERE workspace = $1 AND id = $2
             AND (COALESCE(latest ->> 'offset', 0), latest_top) <= ($6, $4)",
        )
        .bind(workspace.0)
        .bind(latest.message.channel.0)
        .bind(text)
        .bind(signed(latest.top))
        .bind(latest.message.created_at)
        .bind(signed(latest.message.offset))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
