//! The list of a user's conversations.
//!
//! Compiled once for each kind of database, which is `super`.

use std::collections::BTreeMap;

use super::{Database, put_latest};
use crate::model::{ChannelKind, Id, Message, UnixMs};
use crate::store::rows::{self, channel_columns, member_columns};
use crate::store::{Conversation, Latest, StoreError};

impl Database {
    pub(super) async fn conversations_before(
        &self,
        workspace: Id,
        user: Id,
        before: Option<(UnixMs, Id)>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let (latest_at, channel) = before.unwrap_or((UnixMs::MAX, Id(i64::MAX)));
        let query = sqlx::query_as::<_, Row>(concat!(
            "SELECT ",
            channel_columns!(),
            ", ",
            member_columns!(),
            ", c.latest_at, c.latest, CASE WHEN c.low = m.user_id THEN c.high ELSE c.low END
             FROM members m JOIN channels c ON c.id = m.channel
             WHERE m.user_id = $2 AND c.workspace = $1 AND (c.latest_at, c.id) < ($3, $4)
             ORDER BY c.latest_at DESC, c.id DESC LIMIT $5"
        ));
        let query = query.bind(workspace.0).bind(user.0).bind(latest_at).bind(channel.0);
        let rows = query.bind(rows::rows(limit)).fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter().map(|row| conversation(user, row)).collect()
    }

    pub(super) async fn update_latest(&self, workspace: Id, latest: &[Latest]) -> Result<(), StoreError> {
        // Each channel once, and in one order everywhere, so that no two wait for each other.
        let mut newest: BTreeMap<Id, &Latest> = BTreeMap::new();
        for latest in latest {
            let known = newest.entry(latest.message.channel).or_insert(latest);
            if (latest.message.offset, latest.top) > (known.message.offset, known.top) {
                *known = latest;
            }
        }
        let newest: Vec<(&Latest, String)> = newest
            .into_values()
            .map(|latest| Ok((latest, serde_json::to_string(&latest.message)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        let mut tx = self.begin_in(workspace).await?;
        put_latest(&mut tx, workspace, &newest).await?;
        tx.commit().await
    }
}

type Row =
    (i64, i64, String, String, String, i64, i64, i64, bool, bool, String, i64, i64, i64, Option<String>, i64);

fn conversation(user: Id, row: Row) -> Result<Conversation, StoreError> {
    let (a, b, c, d, e, f, g, h, i, j, k, l, m, latest_at, latest, peer) = row;
    let channel = rows::channel((a, b, c, d, e, f, g))?;
    let member = rows::member(channel.id, user, (h, i, j, k, l, m))?;
    let last = match latest {
        Some(text) => Some(
            serde_json::from_str::<Message>(&text).map_err(|error| StoreError::Refused(error.to_string()))?,
        ),
        None => None,
    };
    let peer = (channel.kind == ChannelKind::Dm).then_some(Id(peer));
    Ok(Conversation { channel, member, latest_at, last, peer })
}
