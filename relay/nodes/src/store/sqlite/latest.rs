//! The last messages of channels, for the list of conversations.

use serde_json::{Value, json};

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
    let row = |(latest, text): &(&Latest, String)| {
        let Latest { top, message } = latest;
        json!([message.channel.0, text, signed(*top), message.created_at, signed(message.offset)])
    };
    // The plus keeps the planner from going through all channels of the workspace.
    sqlx::query(
        "UPDATE channels SET latest = new.value ->> 1, latest_top = new.value ->> 2,
             latest_at = MAX(latest_at, new.value ->> 3)
         FROM json_each($2) new WHERE +workspace = $1 AND channels.id = CAST(new.value ->> 0 AS INTEGER)
         AND (COALESCE(latest ->> 'offset', 0), latest_top) <= (new.value ->> 4, new.value ->> 2)",
    )
    .bind(workspace.0)
    .bind(latest.iter().map(row).collect::<Value>().to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
