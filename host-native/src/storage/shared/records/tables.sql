-- The tables of the records, format 2. `functions.sql` is all that reads and writes them.
--
-- Keys and values are bytes, so their order is that of bytes: collations would order texts in other ways.

CREATE SCHEMA orlop;

-- One row: what this is.
CREATE TABLE orlop.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format integer NOT NULL,
    -- The id that the object store has too, and ` new` behind it until that is so.
    store text,
    made timestamptz NOT NULL DEFAULT now()
);
INSERT INTO orlop.meta (format) VALUES (2);

CREATE TABLE orlop.record (
    key bytea PRIMARY KEY,
    value bytea NOT NULL
) WITH (fillfactor = 90, toast_tuple_target = 4080);
-- Most values are digests and numbers, which do not get smaller; and to try costs more than a commit does.
ALTER TABLE orlop.record ALTER COLUMN value SET STORAGE EXTERNAL;

-- What became of a batch of commits: which of them came too late. A nonce without that is a tombstone: that batch was
-- not made, and never will be. A nonce says when it was made (version 7 of RFC 9562). One that is older than an hour is
-- neither committed nor asked for any more, so what became of it may be forgotten after two.
CREATE TABLE orlop.outcome (
    nonce uuid PRIMARY KEY,
    late integer[],
    made timestamptz NOT NULL DEFAULT now()
);
