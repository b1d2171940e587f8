-- A database that holds any part of a system. Every database has every table; which are used depends on its roles.

-- Control: where workspaces are, keys that sign, numbers of nodes.
CREATE TABLE routes (
    workspace bigint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    cluster text NOT NULL,
    moving_to text
);
CREATE TABLE clusters (name text PRIMARY KEY, shards bigint NOT NULL);
CREATE TABLE keys (
    id text PRIMARY KEY,
    private bytea NOT NULL,
    signs_from bigint NOT NULL,
    ends_at bigint NOT NULL
);
CREATE TABLE numbers (number bigint PRIMARY KEY, instance text NOT NULL, until bigint NOT NULL);

-- Workspaces that take no writes here: they are on their way to another cluster, or have gone there.
CREATE TABLE frozen (workspace bigint PRIMARY KEY);

-- Home: users, channels, members.
CREATE TABLE workspaces (id bigint PRIMARY KEY, name text NOT NULL, created_at bigint NOT NULL);
CREATE TABLE users (
    id bigint PRIMARY KEY,
    workspace bigint NOT NULL,
    name text NOT NULL,
    display_name text NOT NULL,
    created_at bigint NOT NULL,
    hash text NOT NULL,
    UNIQUE (workspace, name)
);
CREATE INDEX users_of_workspace ON users (workspace, id);
CREATE TABLE sessions (
    hash bytea PRIMARY KEY,
    workspace bigint NOT NULL,
    user_id bigint NOT NULL,
    ends_at bigint NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (workspace, user_id, ends_at);
-- `low` and `high`: the two of a direct message, by id; 0 in a group. `latest`: the last message as JSON, as of offset `latest_top`.
CREATE TABLE channels (
    id bigint PRIMARY KEY,
    workspace bigint NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    delivery text NOT NULL,
    created_by bigint NOT NULL,
    created_at bigint NOT NULL,
    low bigint NOT NULL DEFAULT 0,
    high bigint NOT NULL DEFAULT 0,
    latest_at bigint NOT NULL,
    latest_top bigint NOT NULL DEFAULT 0,
    latest text
);
CREATE INDEX channels_of_workspace ON channels (workspace, id);
CREATE UNIQUE INDEX dms ON channels (workspace, low, high) WHERE kind = 'dm';
CREATE TABLE members (
    channel bigint NOT NULL,
    user_id bigint NOT NULL,
    joined_at bigint NOT NULL,
    muted boolean NOT NULL DEFAULT false,
    starred boolean NOT NULL DEFAULT false,
    notify text NOT NULL DEFAULT 'all',
    last_read bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, user_id)
);
CREATE INDEX members_of_user ON members (user_id, channel);
CREATE TABLE notices (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    workspace bigint NOT NULL,
    channel bigint NOT NULL,
    user_id bigint NOT NULL,
    at bigint NOT NULL
);

-- Streams. Nothing that changes with a message is in an index here: rows are updated in place.
CREATE TABLE streams (
    channel bigint PRIMARY KEY,
    workspace bigint NOT NULL,
    epoch text NOT NULL,
    top bigint NOT NULL DEFAULT 0,
    revised bigint NOT NULL DEFAULT 0,
    announced bigint NOT NULL DEFAULT 0,
    findable bigint NOT NULL DEFAULT 0,
    frozen boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
CREATE INDEX streams_of_workspace ON streams (workspace, channel);
-- Channels that owe something to the bus or to the search.
CREATE TABLE behind (channel bigint PRIMARY KEY);
-- `place` is the offset. `body` is JSON as it was sent.
CREATE TABLE messages (
    channel bigint NOT NULL,
    place bigint NOT NULL,
    id bigint NOT NULL,
    sender bigint NOT NULL,
    created_at bigint NOT NULL,
    edited_at bigint NOT NULL DEFAULT 0,
    deleted_at bigint NOT NULL DEFAULT 0,
    key text NOT NULL,
    media text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (channel, place),
    UNIQUE (channel, id),
    UNIQUE (channel, sender, key)
) PARTITION BY HASH (channel);
-- Edits (1) and deletions (2): the message that stands at `message`.
CREATE TABLE changes (
    channel bigint NOT NULL,
    place bigint NOT NULL,
    kind bigint NOT NULL,
    message bigint NOT NULL,
    PRIMARY KEY (channel, place)
) PARTITION BY HASH (channel);
DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE messages_%s PARTITION OF messages FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
        EXECUTE format('CREATE TABLE changes_%s PARTITION OF changes FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
    END LOOP;
END $$;
-- Words of messages, each message with its channel as a word of its own. Words come ready: see `store::words`.
CREATE TABLE found (id bigint PRIMARY KEY, channel bigint NOT NULL, words tsvector NOT NULL);
CREATE INDEX found_words ON found USING gin (words);
-- One row, written to see whether writes are taken.
CREATE TABLE probe (one bigint PRIMARY KEY, count bigint NOT NULL);
INSERT INTO probe (one, count) VALUES (1, 0);
-- Which database this is, so that none is taken for two.
CREATE TABLE identity (name text NOT NULL);
INSERT INTO identity (name) VALUES (gen_random_uuid()::text);
