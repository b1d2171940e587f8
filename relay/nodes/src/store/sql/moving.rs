//! What a workspace's move takes from one database and puts into another.
//!
//! Compiled once for each kind of database, which is `super`.

use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Arguments, Database, Kind, Row, Tx, sync_stream};
use crate::model::{Entry, Id, Position};
use crate::store::rows::{self, PositionRow, position_columns};
use crate::store::table::{Cell, Column, Table};
use crate::store::{Answer, Moves, StoreError};

impl Moves for Database {
    fn identity(&self) -> Answer<'_, String> {
        Box::pin(async move {
            let query = sqlx::query_as("SELECT name FROM identity");
            let (name,): (String,) = query.fetch_one(&mut *self.reader().await?).await?;
            Ok(name)
        })
    }

    fn freeze(&self, workspace: Id) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut tx = self.begin_freezing(workspace).await?;
            run(&mut tx, "INSERT INTO frozen (workspace) VALUES ($1) ON CONFLICT DO NOTHING", workspace)
                .await?;
            run(&mut tx, set_frozen!("true"), workspace).await?;
            tx.commit().await
        })
    }

    fn thaw(&self, workspace: Id) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut tx = self.begin_freezing(workspace).await?;
            run(&mut tx, "DELETE FROM frozen WHERE workspace = $1", workspace).await?;
            run(&mut tx, set_frozen!("false"), workspace).await?;
            tx.commit().await
        })
    }

    fn rows<'a>(
        &'a self,
        workspace: Id,
        table: &'static Table,
        after: Option<&'a [Cell]>,
        limit: usize,
    ) -> Answer<'a, Vec<Vec<Cell>>> {
        Box::pin(async move {
            let sql = table.select(after.is_some());
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(workspace.0).bind(rows::rows(limit));
            for cell in after.into_iter().flatten() {
                query = bind(query, cell);
            }
            let found = query.fetch_all(&mut *self.reader().await?).await?;
            found.iter().map(|row| cells(row, table)).collect()
        })
    }

    fn load<'a>(
        &'a self,
        table: &'static Table,
        changed: &'a [Vec<Cell>],
        gone: &'a [Vec<Cell>],
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            for (sql, rows) in [(table.delete(), gone), (table.upsert(), changed)] {
                for row in rows {
                    let query = sqlx::query(AssertSqlSafe(sql.clone()));
                    row.iter().fold(query, bind).execute(&mut *tx).await?;
                }
            }
            tx.commit().await
        })
    }

    fn streams(&self, workspace: Id, after: Id, limit: usize) -> Answer<'_, Vec<(Id, Position)>> {
        Box::pin(async move {
            let query = sqlx::query_as::<_, (i64, i64, String, i64, i64)>(concat!(
                "SELECT s.channel, ",
                position_columns!(),
                " FROM streams s WHERE s.workspace = $1 AND s.channel > $2 ORDER BY s.channel LIMIT $3"
            ));
            let query = query.bind(workspace.0).bind(after.0).bind(rows::rows(limit));
            let found = query.fetch_all(&mut *self.reader().await?).await?;
            let stream = |(channel, top, epoch, revised, announced)| {
                let row: PositionRow = (top, epoch, revised, announced);
                (Id(channel), rows::position(row))
            };
            Ok(found.into_iter().map(stream).collect())
        })
    }

    fn adopt<'a>(
        &'a self,
        workspace: Id,
        channel: Id,
        position: &'a Position,
        entries: &'a [Entry],
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            sync_stream(&mut tx, workspace, channel, position, entries).await?;
            tx.commit().await
        })
    }

    fn remove(&self, workspace: Id, limit: usize) -> Answer<'_, bool> {
        Box::pin(self.remove_some(workspace, limit))
    }
}

impl Database {
    /// Removes a bounded part of what is left; says whether something was.
    async fn remove_some(&self, workspace: Id, limit: usize) -> Result<bool, StoreError> {
        if let [(channel, _)] = Moves::streams(self, workspace, Id(0), 1).await?.as_slice() {
            self.remove_stream(*channel, limit).await?;
            return Ok(true);
        }
        let mut tx = self.begin().await?;
        for table in Table::HOME.iter().rev() {
            let query = sqlx::query(AssertSqlSafe(table.clear()));
            let done = query.bind(workspace.0).bind(rows::rows(limit)).execute(&mut *tx).await?;
            if done.rows_affected() > 0 {
                tx.commit().await?;
                return Ok(true);
            }
        }
        tx.commit().await?;
        Ok(false)
    }
}

async fn run(tx: &mut Tx, sql: &'static str, workspace: Id) -> Result<(), StoreError> {
    sqlx::query(sql).bind(workspace.0).execute(&mut **tx).await?;
    Ok(())
}

fn bind<'q>(query: Query<'q, Kind, Arguments>, cell: &Cell) -> Query<'q, Kind, Arguments> {
    match cell {
        Cell::Flag(value) => query.bind(*value),
        Cell::Number(value) => query.bind(*value),
        Cell::Text(value) => query.bind(value.clone()),
        Cell::Bytes(value) => query.bind(value.clone()),
    }
}

fn cells(row: &Row, table: &Table) -> Result<Vec<Cell>, StoreError> {
    let cell = |(index, (_, column)): (usize, &(&str, Column))| {
        Ok(match column {
            Column::Flag => Cell::Flag(row.try_get(index)?),
            Column::Number => Cell::Number(row.try_get(index)?),
            Column::Text => Cell::Text(row.try_get(index)?),
            Column::Bytes => Cell::Bytes(row.try_get(index)?),
        })
    };
    table.columns.iter().enumerate().map(cell).collect()
}

macro_rules! set_frozen {
    ($to:literal) => {
        concat!(
            "UPDATE streams SET frozen = ",
            $to,
            " WHERE channel IN (SELECT channel FROM streams WHERE workspace = $1 ORDER BY channel",
            locked!(),
            ")"
        )
    };
}
use set_frozen;
