-- Stores a batch of new messages in one round: locks their streams, moves the tops, inserts. It does all or nothing: where a key was used
-- before (23505), or a stream is missing or frozen (HL001), the node looks closer at each message.
--
-- `channels`: each once, in order; `counts`: how many messages of each. Of each message: its channel's place in `channels`, from 1, and
-- its rank among the batch's messages of that channel, from 1. The answer: tops and epochs by channel.
CREATE FUNCTION store_batch(
    channels bigint[],
    counts bigint[],
    slots bigint[],
    ranks bigint[],
    ids bigint[],
    senders bigint[],
    times bigint[],
    keys text[],
    medias text[],
    bodies text[],
    OUT tops bigint[],
    OUT epochs text[]
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT array_agg(held.top ORDER BY held.channel), array_agg(held.epoch ORDER BY held.channel)
        INTO tops, epochs
        FROM (SELECT s.channel, s.top, s.epoch, s.frozen FROM streams s WHERE s.channel = ANY (store_batch.channels)
              ORDER BY s.channel FOR UPDATE) held
        WHERE NOT held.frozen;
    IF cardinality(tops) IS DISTINCT FROM cardinality(channels) THEN
        RAISE EXCEPTION 'a stream is missing or frozen' USING ERRCODE = 'HL001';
    END IF;
    UPDATE streams s SET top = s.top + new.count
        FROM UNNEST(store_batch.channels, store_batch.counts) new (channel, count) WHERE s.channel = new.channel;
    INSERT INTO behind SELECT UNNEST(store_batch.channels) ON CONFLICT DO NOTHING;
    INSERT INTO messages (channel, place, id, sender, created_at, key, media, body)
        SELECT channels[m.slot], tops[m.slot] + m.rank, m.id, m.sender, m.at, m.key, m.media, m.body
        FROM UNNEST(store_batch.slots, store_batch.ranks, store_batch.ids, store_batch.senders,
            store_batch.times, store_batch.keys, store_batch.medias, store_batch.bodies)
            m (slot, rank, id, sender, at, key, media, body);
END $$;
