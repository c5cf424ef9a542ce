-- Followers that are fed by Kafka: how far each partition was applied, beside how far a follower
-- has come as a whole.

-- By what a follower is fed: `log`, in which case `position` moves with each batch, or `kafka`, in
-- which case it is the position up to which every partition was applied.
ALTER TABLE checkpoints ADD COLUMN feed text COLLATE "C" NOT NULL DEFAULT 'log';

-- One row a partition that a follower has begun; written in the transaction of its effects.
CREATE TABLE feed_checkpoints (
    follower    text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    partition   integer          NOT NULL,
    -- The program, as the topic's name has it.
    program     text COLLATE "C" NOT NULL,
    -- Everything of this partition up to here is applied, or was when the partition was begun.
    position    bigint           NOT NULL,
    -- The record that was applied last, and the position of its event: there it is read on, if it
    -- is still the one that stands there. -1 and 0 for none.
    last_offset bigint           NOT NULL DEFAULT -1,
    last_event  bigint           NOT NULL DEFAULT 0,
    -- The follower was given back to the log: nothing of what a worker still holds counts.
    closed      boolean          NOT NULL DEFAULT false,
    PRIMARY KEY (follower, topic, partition)
) WITH (fillfactor = 50);
