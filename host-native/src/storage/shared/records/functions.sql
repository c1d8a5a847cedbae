-- What is done with the records, in the newest format. It may be run again: each format replaces the functions of the one
-- before, which the version before goes on calling.
--
-- The settings of functions hang on them: a connection has none of its own, so that a pooler may hand each statement to
-- another one. Small tables are read by their index too (enable_seqscan = off), so that a plan that was made while there
-- was little is right when there is much.

-- Refuses a nonce that is older than an hour, as one of a process that was suspended, or of a statement that a server has
-- received and was suspended before it began it.
CREATE OR REPLACE FUNCTION orlop.refuse_old(nonce uuid) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_timestamp(('x' || left(replace(nonce::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
        < clock_timestamp() - interval '1 hour'
    THEN
        RAISE EXCEPTION 'the batch was sent more than an hour ago' USING ERRCODE = 'OR001';
    END IF;
END
$$;

-- The record of a counter to which numbers were added one after the other; null where it has none. It neither goes below
-- 0 nor above what 64 bits hold, and one that does not read counts as 0.
CREATE OR REPLACE FUNCTION orlop.counted(value bytea, more bigint[]) RETURNS bytea
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
--
-- While something else locks the table (VACUUM FULL), whoever reads gives up sooner than its client does: a server process
-- that waits for a lock does not notice that its client has gone, and each new attempt would take one more connection.
CREATE OR REPLACE FUNCTION orlop.get(keys bytea[]) RETURNS TABLE (value bytea)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET lock_timeout = '3s'
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
CREATE OR REPLACE FUNCTION orlop.scan(low bytea, high bytea, most bigint, size bigint) RETURNS TABLE (key bytea, value bytea)
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET lock_timeout = '3s'
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
CREATE OR REPLACE FUNCTION orlop.commit(
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
    PERFORM orlop.refuse_old(nonce);
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
--
-- An outcome that is there is written once more. The wait of its batch for a standby may have ended with its connection, or
-- with the server, and a transaction that writes nothing waits for no standby: the batch would be acknowledged, and lost
-- with this server.
CREATE OR REPLACE FUNCTION orlop.settle(nonce uuid) RETURNS integer[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET lock_timeout = '5s'
AS $$
DECLARE
    settled integer[];
BEGIN
    PERFORM orlop.refuse_old(settle.nonce);
    INSERT INTO orlop.outcome (nonce, late) VALUES (settle.nonce, NULL)
    ON CONFLICT ON CONSTRAINT outcome_pkey DO UPDATE SET late = outcome.late
    RETURNING outcome.late INTO settled;
    RETURN settled;
END
$$;

-- Forgets outcomes that no process asks for any more, and tombstones of batches that would be refused anyway. A commit
-- that is under way has the lock, and may still find its tombstone.
CREATE OR REPLACE FUNCTION orlop.forget() RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET lock_timeout = '5s'
AS $$
DECLARE
    first CONSTANT bigint := extract(epoch FROM clock_timestamp() - interval '2 hours') * 1000;
    gone bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7309471087405494895);
    DELETE FROM orlop.outcome WHERE outcome.nonce < (lpad(to_hex(first), 12, '0') || repeat('0', 20))::uuid;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;
