-- What the append hands over: one composite value a row. An array for each column made Postgres
-- read nine values an event, keep them in nine stores and join them again, which was a tenth of
-- its time. Types of their own, and not the tables' row types: a column that is added to a table
-- later must not break the appends of the release before.
CREATE TYPE appended_event AS (
    program        text COLLATE "C",
    aggregate_type text COLLATE "C",
    aggregate_id   text COLLATE "C",
    sequence       bigint,
    event_type     text COLLATE "C",
    event_version  text COLLATE "C",
    payload        json,
    metadata       json,
    recorded_at    timestamptz
);

CREATE TYPE appended_answer AS (
    program     text COLLATE "C",
    command     uuid,
    fingerprint bytea,
    -- Index of its last event in the batch, from 1.
    last        bigint,
    events      integer,
    version     bigint,
    refusal     json
);
