-- How far streams are announced and findable, each in one round: streams are locked only for as long as the statement takes, since
-- messages of their channels wait meanwhile. What a crash loses of it is done again, so nobody waits for the disk.

CREATE FUNCTION mark_announced(channels bigint[], tops bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM s.channel FROM streams s WHERE s.channel = ANY (mark_announced.channels) ORDER BY s.channel FOR UPDATE;
    UPDATE streams s SET announced = GREATEST(s.announced, LEAST(s.top, new.top))
        FROM UNNEST(mark_announced.channels, mark_announced.tops) new (channel, top) WHERE s.channel = new.channel;
    PERFORM settle(mark_announced.channels);
END $$;

-- False, and nothing is marked: another node has marked some of them meanwhile.
CREATE FUNCTION mark_findable(channels bigint[], after bigint[], last bigint[]) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    marked bigint;
BEGIN
    PERFORM s.channel FROM streams s WHERE s.channel = ANY (mark_findable.channels) ORDER BY s.channel FOR UPDATE;
    SELECT count(*) INTO marked FROM streams s
        JOIN UNNEST(mark_findable.channels, mark_findable.after) new (channel, after)
            ON s.channel = new.channel AND s.findable = new.after;
    IF marked <> cardinality(mark_findable.channels) THEN
        RETURN false;
    END IF;
    UPDATE streams s SET findable = new.last
        FROM UNNEST(mark_findable.channels, mark_findable.last) new (channel, last) WHERE s.channel = new.channel;
    PERFORM settle(mark_findable.channels);
    RETURN true;
END $$;

-- Takes channels that owe nothing any more off the list; their streams are locked.
CREATE FUNCTION settle(channels bigint[]) RETURNS void LANGUAGE sql AS $$
    DELETE FROM behind b USING streams s WHERE b.channel = ANY (settle.channels) AND s.channel = b.channel
        AND s.top = s.announced AND s.top = s.findable
$$;
