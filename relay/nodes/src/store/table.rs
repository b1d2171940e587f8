//! Tables of a home that are moved row by row, and their statements in the words that both databases have.

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// A boolean.
    Flag,
    /// An integer.
    Number,
    /// Text, or nothing.
    Text,
    /// Bytes.
    Bytes,
}

/// What stands in one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cell {
    /// See [`Column`].
    Flag(bool),
    /// See [`Column`].
    Number(i64),
    /// See [`Column`].
    Text(Option<String>),
    /// See [`Column`].
    Bytes(Vec<u8>),
}

/// A table.
#[derive(Debug)]
pub struct Table {
    name: &'static str,
    /// The first `key` of them are the primary key.
    pub columns: &'static [(&'static str, Column)],
    /// How many.
    pub key: usize,
    /// Which rows are of the workspace `$1`.
    of: &'static str,
}

impl Table {
    /// What a home has of a workspace, whatever is named by others before these. Notices are not among them: they
    /// are dealt with where they were written.
    pub const HOME: [Self; 5] = [
        Self {
            name: "workspaces",
            columns: &[("id", Column::Number), ("name", Column::Text), ("created_at", Column::Number)],
            key: 1,
            of: "id = $1",
        },
        Self {
            name: "users",
            columns: &[
                ("id", Column::Number),
                ("workspace", Column::Number),
                ("name", Column::Text),
                ("display_name", Column::Text),
                ("created_at", Column::Number),
                ("hash", Column::Text),
            ],
            key: 1,
            of: "workspace = $1",
        },
        Self {
            name: "sessions",
            columns: &[
                ("hash", Column::Bytes),
                ("workspace", Column::Number),
                ("user_id", Column::Number),
                ("ends_at", Column::Number),
            ],
            key: 1,
            of: "workspace = $1",
        },
        Self {
            name: "channels",
            columns: &[
                ("id", Column::Number),
                ("workspace", Column::Number),
                ("kind", Column::Text),
                ("name", Column::Text),
                ("delivery", Column::Text),
                ("created_by", Column::Number),
                ("created_at", Column::Number),
                ("low", Column::Number),
                ("high", Column::Number),
                ("latest_at", Column::Number),
                ("latest_top", Column::Number),
                ("latest", Column::Text),
            ],
            key: 1,
            of: "workspace = $1",
        },
        Self {
            name: "members",
            columns: &[
                ("channel", Column::Number),
                ("user_id", Column::Number),
                ("joined_at", Column::Number),
                ("muted", Column::Flag),
                ("starred", Column::Flag),
                ("notify", Column::Text),
                ("last_read", Column::Number),
                ("delivered", Column::Number),
            ],
            key: 2,
            of: "channel IN (SELECT id FROM channels WHERE workspace = $1)",
        },
    ];

    /// Rows of the workspace `$1` by key, `$2` at most; after a key from `$3` on.
    pub(super) fn select(&self, after: bool) -> String {
        let (name, of, columns, key) = (self.name, self.of, names(self.columns), names(self.keys()));
        let after = if after { format!(" AND ({key}) > ({})", places(3, self.key)) } else { String::new() };
        format!("SELECT {columns} FROM {name} WHERE {of}{after} ORDER BY {key} LIMIT $2")
    }

    /// Writes a row, whether or not there is one of its key.
    pub(super) fn upsert(&self) -> String {
        let (name, columns, key) = (self.name, names(self.columns), names(self.keys()));
        let places = places(1, self.columns.len());
        let set: Vec<String> = self.columns[self.key..]
            .iter()
            .map(|(column, _)| format!("{column} = excluded.{column}"))
            .collect();
        let set = set.join(", ");
        format!("INSERT INTO {name} ({columns}) VALUES ({places}) ON CONFLICT ({key}) DO UPDATE SET {set}")
    }

    /// Deletes the row of a key.
    pub(super) fn delete(&self) -> String {
        let (name, key, places) = (self.name, names(self.keys()), places(1, self.key));
        format!("DELETE FROM {name} WHERE ({key}) = ({places})")
    }

    /// Deletes `$2` rows of the workspace `$1`.
    pub(super) fn clear(&self) -> String {
        let (name, of, key) = (self.name, self.of, names(self.keys()));
        format!("DELETE FROM {name} WHERE ({key}) IN (SELECT {key} FROM {name} WHERE {of} LIMIT $2)")
    }

    /// The key of a row.
    pub(super) fn key_of<'a>(&self, row: &'a [Cell]) -> &'a [Cell] {
        &row[..self.key]
    }

    fn keys(&self) -> &'static [(&'static str, Column)] {
        &self.columns[..self.key]
    }
}

fn names(columns: &[(&str, Column)]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn places(from: usize, count: usize) -> String {
    (from..from + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}
