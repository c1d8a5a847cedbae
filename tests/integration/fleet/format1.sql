-- The records of a registry in PostgreSQL, format 1.
--
-- Keys and values are bytes, so their order is that of bytes: collations would order texts in other ways. What is done
-- with them are functions, whose settings hang on them: a connection has none of its own, so that a pooler may hand each
-- statement to another one. Small tables are read by their index too (enable_seqscan = off), so that a plan that was made
-- while there was little is right when there is much.

CREATE SCHEMA orlop;

-- One row: what this is.
CREATE TABLE orlop.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format integer NOT NULL,
    made timestamptz NOT NULL DEFAULT now()
);
INSERT INTO orlop.meta (format) VALUES (1);

CREATE TABLE orlop.record (
    key bytea PRIMARY KEY,
    value bytea NOT NULL
) WITH (fillfactor = 90, toast_tuple_target = 4080);
-- Most values are digests and numbers, which do not get smaller; and to try costs more than a commit does.
ALTER TABLE orlop.record ALTER COLUMN value SET STORAGE EXTERNAL;

-- What became of a batch of commits: which of them came too late. A nonce without that is a tombstone: that batch was
-- not made, and never will be.
CREATE TABLE orlop.outcome (
    nonce uuid PRIMARY KEY,
    late integer[],
    made timestamptz NOT NULL DEFAULT now()
);

-- The record of a counter to which numbers were added one after the other; null where it has none. It neither goes below
-- 0 nor above what 64 bits hold, and one that does not read counts as 0.
CREATE FUNCTION orlop.counted(value bytea, more bigint[]) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most CONSTANT numeric := 18446744073709551615;
    digits CONSTANT text := encode(value, 'escape');
    total numeric := CASE WHEN digits ~ '^\+?[0-9]{1,40}$' THEN digits::numeric ELSE 0 END;
    number bigint;
BEGIN
    IF total > most THEN
        total := 0;
    END IF;
    FOREACH number IN ARRAY more LOOP
        total := least(greatest(total + number, 0), most);
    END LOOP;
    RETURN CASE WHEN total > 0 THEN convert_to(total::text, 'UTF8') END;
END
$$;

-- Looks keys up: a row for each, in their order.
CREATE FUNCTION orlop.get(keys bytea[]) RETURNS TABLE (value bytea)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
        SELECT record.value
        FROM unnest(keys) WITH ORDINALITY AS asked (key, place)
        LEFT JOIN orlop.record ON record.key = asked.key
        ORDER BY asked.place;
END
$$;

-- Lists entries from `low` on and below `high`: `most` at most, and fewer when their values have more than `size` bytes
-- together, but never none when there is one.
CREATE FUNCTION orlop.scan(low bytea, high bytea, most bigint, size bigint) RETURNS TABLE (key bytea, value bytea)
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    listed bigint := 0;
    bytes bigint := 0;
BEGIN
    FOR key, value IN
        SELECT record.key, record.value
        FROM orlop.record
        WHERE record.key >= low AND record.key < high
        ORDER BY record.key
        LIMIT most
    LOOP
        bytes := bytes + octet_length(value);
        EXIT WHEN bytes > size AND listed > 0;
        listed := listed + 1;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Makes a batch of commits, each judged after those before it. Returns which of them came too late.
--
-- Each commit is a number, and each thing it expects or changes is an entry of the arrays. Kinds: 1 no record under the
-- key, 2 some record, 3 this one, 4 no key from `key` on and below `value`; 5 remove the record, 6 put it, 7 add to the
-- counter. Commits of one wave touch nothing that another of them changes but counters, so they are judged together.
--
-- The lock is taken in a statement of its own: a later statement sees all that was committed until then, which one that
-- had begun before it had the lock would not. Nothing is asked of the client while it is held.
CREATE FUNCTION orlop.commit(
    nonce uuid, before uuid, durable boolean, last_wave integer,
    commits integer[], waves integer[], kinds integer[], keys bytea[], vals bytea[]
) RETURNS integer[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET lock_timeout = '5s'
AS $$
DECLARE
    late integer[] := '{}';
    late_here integer[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'commits need transactions that are READ COMMITTED' USING ERRCODE = 'feature_not_supported';
    END IF;
    PERFORM pg_advisory_xact_lock(7309471087405494895);
    IF NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    FOR here IN 0 .. last_wave LOOP
        SELECT coalesce(array_agg(DISTINCT op.number), '{}') INTO late_here
        FROM unnest(commits, waves, kinds, keys, vals) AS op (number, wave, kind, key, value)
        LEFT JOIN LATERAL (
            SELECT record.value FROM orlop.record WHERE record.key = op.key LIMIT 1
        ) AS found ON op.kind <= 3
        WHERE op.wave = here AND op.kind <= 4 AND CASE op.kind
            WHEN 1 THEN found.value IS NOT NULL
            WHEN 2 THEN found.value IS NULL
            WHEN 3 THEN found.value IS DISTINCT FROM op.value
            ELSE EXISTS (SELECT FROM orlop.record WHERE record.key >= op.key AND record.key < op.value)
        END;
        late := late || late_here;
        IF 5 = ANY (kinds) THEN
            DELETE FROM orlop.record USING unnest(commits, waves, kinds, keys) AS op (number, wave, kind, key)
            WHERE record.key = op.key AND op.wave = here AND op.kind = 5 AND op.number <> ALL (late_here);
        END IF;
        INSERT INTO orlop.record (key, value)
        SELECT op.key, op.value
        FROM unnest(commits, waves, kinds, keys, vals) AS op (number, wave, kind, key, value)
        WHERE op.wave = here AND op.kind = 6 AND op.number <> ALL (late_here)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value;
        IF 7 = ANY (kinds) THEN
            WITH counter AS MATERIALIZED (
                SELECT op.key, orlop.counted(
                    (SELECT record.value FROM orlop.record WHERE record.key = op.key),
                    array_agg(encode(op.value, 'escape')::bigint ORDER BY op.number)
                ) AS value
                FROM unnest(commits, waves, kinds, keys, vals) AS op (number, wave, kind, key, value)
                WHERE op.wave = here AND op.kind = 7 AND op.number <> ALL (late_here)
                GROUP BY op.key
            ), gone AS (
                DELETE FROM orlop.record USING counter WHERE record.key = counter.key AND counter.value IS NULL
            )
            INSERT INTO orlop.record (key, value)
            SELECT counter.key, counter.value FROM counter WHERE counter.value IS NOT NULL
            ON CONFLICT (key) DO UPDATE SET value = excluded.value;
        END IF;
    END LOOP;
    -- The outcome of the batch before is known by now.
    DELETE FROM orlop.outcome WHERE outcome.nonce = before;
    INSERT INTO orlop.outcome (nonce, late) VALUES (nonce, late);
    RETURN late;
END
$$;

-- Finds out what became of a batch whose connection died: null if it was not made and never will be, or which of its
-- commits came too late. An insert waits for a transaction in flight that has inserted the same nonce; one that wants to
-- insert it later fails. To look it up alone would prove nothing.
CREATE FUNCTION orlop.settle(nonce uuid) RETURNS integer[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET lock_timeout = '5s'
AS $$
BEGIN
    INSERT INTO orlop.outcome (nonce, late) VALUES (settle.nonce, NULL) ON CONFLICT DO NOTHING;
    RETURN (SELECT outcome.late FROM orlop.outcome WHERE outcome.nonce = settle.nonce);
END
$$;
