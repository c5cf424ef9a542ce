-- The log and what commits with it. Facts: these tables are migrated forward, never rebuilt.

-- A superset of postgres-es's table, so that its PostgresEventRepository reads the log as it is.
CREATE TABLE events (
    position       bigint      NOT NULL PRIMARY KEY,
    program        text COLLATE "C"        NOT NULL,
    aggregate_type text COLLATE "C"        NOT NULL,
    aggregate_id   text COLLATE "C"        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    event_type     text COLLATE "C"        NOT NULL,
    event_version  text COLLATE "C"        NOT NULL,
    -- json, not jsonb: the hash chain is over the bytes that were written.
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    -- The id first: a comparison that starts with a column of few values is decided late.
    UNIQUE (aggregate_id, sequence, aggregate_type)
);
COMMENT ON TABLE events IS 'Immutable. position is dense from 1 in commit order.';

-- Whoever needs a campaign's or a program's history needs it whole and in log order; they are few.
CREATE INDEX events_configuration ON events (position)
    WHERE aggregate_type IN ('campaign', 'program');

-- Orders read prices without writing the product: whoever keeps products in memory is told of these.
CREATE INDEX events_catalogue ON events (position)
    WHERE event_type IN ('ProductCreated', 'ProductChanged', 'ProductRetired');

CREATE FUNCTION events_are_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are immutable';
END
$$;
CREATE TRIGGER events_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_are_immutable();

-- One row. Its row lock is the append lock: held until commit, so positions commit in order.
CREATE TABLE log_head (
    id       boolean PRIMARY KEY DEFAULT true CHECK (id),
    position bigint  NOT NULL,
    hash     bytea   NOT NULL
) WITH (fillfactor = 10);
INSERT INTO log_head (position, hash) VALUES (0, sha256('accrue log, format 1'::bytea));

-- One row a batch: the hash chain, and the place to look up a batch whose outcome is unknown.
CREATE TABLE commits (
    last_position  bigint      NOT NULL PRIMARY KEY,
    first_position bigint      NOT NULL,
    batch_id       uuid        NOT NULL UNIQUE,
    root           bytea       NOT NULL,
    hash           bytea       NOT NULL,
    recorded_at    timestamptz NOT NULL
);

-- One row a keyed command: what it was and what it was answered.
CREATE TABLE idempotency (
    program     text COLLATE "C"        NOT NULL,
    key         text COLLATE "C"        NOT NULL,
    fingerprint bytea       NOT NULL,
    -- Position of the command's last event (or of the head, when it had none), and their number.
    position    bigint      NOT NULL,
    events      integer     NOT NULL,
    -- The stream's version in the answer.
    version     bigint      NOT NULL,
    -- The refusal, when the command was refused by decision.
    refusal     json,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (key, program)
);
-- Rows arrive in time order, so a block-range index finds the old ones at next to no cost.
CREATE INDEX idempotency_recorded_at ON idempotency USING brin (recorded_at);

-- Discardable: a state that saves reading a long stream from its start.
CREATE TABLE snapshots (
    aggregate_type text COLLATE "C"   NOT NULL,
    aggregate_id   text COLLATE "C"   NOT NULL,
    sequence       bigint NOT NULL,
    shape          bytea  NOT NULL,
    state          json   NOT NULL,
    PRIMARY KEY (aggregate_id, aggregate_type)
);

-- When time itself will next change a stream. Written with the events that moved the deadline.
CREATE TABLE timers (
    aggregate_type text COLLATE "C"        NOT NULL,
    aggregate_id   text COLLATE "C"        NOT NULL,
    due_at         timestamptz NOT NULL,
    PRIMARY KEY (aggregate_id, aggregate_type)
);
CREATE INDEX timers_due_at ON timers (due_at);

-- How far each follower of the log has come.
CREATE TABLE checkpoints (
    follower   text COLLATE "C"        NOT NULL PRIMARY KEY,
    position   bigint      NOT NULL
) WITH (fillfactor = 50);

-- Streams that a follower has set aside at an event that it could not digest.
CREATE TABLE parked (
    follower       text COLLATE "C"   NOT NULL,
    aggregate_type text COLLATE "C"   NOT NULL,
    aggregate_id   text COLLATE "C"   NOT NULL,
    position       bigint NOT NULL,
    reason         text COLLATE "C"   NOT NULL,
    PRIMARY KEY (follower, aggregate_type, aggregate_id)
);

CREATE SCHEMA read;
