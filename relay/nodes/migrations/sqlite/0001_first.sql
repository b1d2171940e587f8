-- A database that holds any part of a system. Every database has every table; which are used depends on its roles.

-- Control: where workspaces are, keys that sign, numbers of nodes.
CREATE TABLE routes (
    workspace INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    cluster TEXT NOT NULL,
    moving_to TEXT
) STRICT;
CREATE TABLE clusters (name TEXT PRIMARY KEY, shards INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    private BLOB NOT NULL,
    signs_from INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE numbers (number INTEGER PRIMARY KEY, instance TEXT NOT NULL, until INTEGER NOT NULL) STRICT;

-- Workspaces that take no writes here: they are on their way to another cluster, or have gone there.
CREATE TABLE frozen (workspace INTEGER PRIMARY KEY) STRICT;

-- Home: users, channels, members.
CREATE TABLE workspaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT;
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    hash TEXT NOT NULL,
    UNIQUE (workspace, name)
) STRICT;
CREATE INDEX users_of_workspace ON users (workspace, id);
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY,
    workspace INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (workspace, user_id, ends_at);
-- `low` and `high`: the two of a direct message, by id; 0 in a group. `latest`: the last message as JSON, as of offset `latest_top`.
CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    delivery TEXT NOT NULL,
    created_by INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    low INTEGER NOT NULL DEFAULT 0,
    high INTEGER NOT NULL DEFAULT 0,
    latest_at INTEGER NOT NULL,
    latest_top INTEGER NOT NULL DEFAULT 0,
    latest TEXT
) STRICT;
CREATE INDEX channels_of_workspace ON channels (workspace, id);
CREATE UNIQUE INDEX dms ON channels (workspace, low, high) WHERE kind = 'dm';
CREATE TABLE members (
    channel INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    joined_at INTEGER NOT NULL,
    muted INTEGER NOT NULL DEFAULT 0,
    starred INTEGER NOT NULL DEFAULT 0,
    notify TEXT NOT NULL DEFAULT 'all',
    last_read INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_of_user ON members (user_id, channel);
CREATE TABLE notices (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- Streams. `number` is the channel's own small number in this database; a `place` is number * 2^36 + offset, so that a channel's
-- entries stand together, in order, without an index of their own.
CREATE TABLE streams (
    channel INTEGER PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    workspace INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    top INTEGER NOT NULL DEFAULT 0,
    revised INTEGER NOT NULL DEFAULT 0,
    announced INTEGER NOT NULL DEFAULT 0,
    findable INTEGER NOT NULL DEFAULT 0,
    frozen INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX streams_of_workspace ON streams (workspace, channel);
-- What is owed to the bus or to the search.
CREATE INDEX streams_behind ON streams (channel) WHERE top > announced OR top > findable;
CREATE TABLE messages (
    place INTEGER PRIMARY KEY,
    id INTEGER NOT NULL UNIQUE,
    stream INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    edited_at INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER NOT NULL DEFAULT 0,
    key TEXT NOT NULL,
    media TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (stream, sender, key)
) STRICT;
-- Edits (1) and deletions (2): the message that stands at `message`.
CREATE TABLE changes (place INTEGER PRIMARY KEY, kind INTEGER NOT NULL, message INTEGER NOT NULL) STRICT;
-- Words of messages by id, each message with its channel as a word of its own. Words come ready: see `store::words`.
CREATE VIRTUAL TABLE found USING fts5 (words, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
-- One row, written to see whether writes are taken.
CREATE TABLE probe (one INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT;
INSERT INTO probe (one, count) VALUES (1, 0);
-- Which database this is, so that none is taken for two.
CREATE TABLE identity (name TEXT NOT NULL) STRICT;
INSERT INTO identity (name) VALUES (lower(hex(randomblob(16))));
