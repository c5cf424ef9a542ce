-- What each product is, and how much of it there is. Deadlines are applied by the reader: nothing
-- here depends on when it is read. The counts change often and are in no index, so that a row that
-- has room beside it changes in its page.
CREATE TABLE stock_products (
    program     text COLLATE "C" NOT NULL,
    product     text COLLATE "C" NOT NULL,
    name        text   NOT NULL,
    description text,
    image       text,
    -- Of one unit, in minor units of the currency.
    price       bigint NOT NULL,
    currency    text   NOT NULL,
    kind        text   NOT NULL,
    status      text   NOT NULL,
    -- Units that no hold has set aside, and those that one has, overdue or not.
    available   bigint NOT NULL CHECK (available >= 0),
    held        bigint NOT NULL CHECK (held >= 0),
    on_hand     bigint NOT NULL GENERATED ALWAYS AS (available + held) STORED,
    -- What a search looks for: see words.rs.
    words       tsvector NOT NULL,
    -- Sequence of the last event of its stream.
    version     bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    position    bigint NOT NULL,
    PRIMARY KEY (program, product)
) WITH (fillfactor = 80);

-- Open holds. Those of a service are here too, although they set nothing aside.
CREATE TABLE stock_holds (
    program  text COLLATE "C" NOT NULL,
    product  text COLLATE "C" NOT NULL,
    hold     text COLLATE "C" NOT NULL,
    quantity bigint NOT NULL,
    -- 'infinity': never, so that an index range finds what is overdue and what is not.
    until    timestamptz NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (program, product, hold)
);

-- After the load.
-- Products are searched more often than they are named anew: no list of what is to be indexed yet.
CREATE INDEX stock_products_words ON stock_products USING gin (words) WITH (fastupdate = off);
CREATE INDEX stock_holds_deadline ON stock_holds (program, product, until, hold);
