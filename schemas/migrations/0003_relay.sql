-- Work that one process at a time may do, and where the log stands in Kafka.

-- Who does what of which there is to be one. `epoch` grows with each holder and fences the last:
-- what a holder writes is written only while its epoch is still the one that stands here. Times
-- are the database's own, so that no holder's clock counts.
CREATE TABLE leases (
    name   text COLLATE "C" NOT NULL PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    epoch  bigint           NOT NULL,
    until  timestamptz      NOT NULL
) WITH (fillfactor = 50);

-- The last event of each partition that Kafka has acknowledged. Kafka itself may be behind it where
-- it lost what it had acknowledged, which is how that is noticed. A row for every partition from
-- the day the topic was made: their number decides which partition a stream is in, and never changes.
CREATE TABLE relayed (
    topic       text COLLATE "C" NOT NULL,
    partition   integer          NOT NULL,
    -- Position of that event; 0 for none.
    position    bigint           NOT NULL,
    -- The offset behind it.
    next_offset bigint           NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
