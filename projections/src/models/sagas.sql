-- Sagas that are not at their end: few, and each of them for a short time, or for people to see.
CREATE TABLE sagas (
    program  text COLLATE "C" NOT NULL,
    -- `kind:id`.
    saga     text COLLATE "C" NOT NULL,
    kind     text   NOT NULL,
    id       text COLLATE "C" NOT NULL,
    state    text COLLATE "C" NOT NULL,
    step     text   NOT NULL,
    way      text   NOT NULL,
    -- Calls to the outside that were tried for this step.
    attempts bigint NOT NULL,
    -- When a timer looks after it; none while it is stuck.
    next_at  timestamptz,
    -- Since when it is open.
    since    timestamptz NOT NULL,
    -- What is wrong.
    detail   text,
    version  bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (program, saga)
) WITH (fillfactor = 50);

-- What the next event of a purchase is folded on: see purchases.rs. Completed ones stay, for a
-- refund makes a saga of them again; what was rejected is over for good.
CREATE TABLE saga_purchases (
    program  text COLLATE "C" NOT NULL,
    purchase text COLLATE "C" NOT NULL,
    story    text   NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (program, purchase)
);

-- After the load.
CREATE INDEX sagas_since ON sagas (program, since, saga);
