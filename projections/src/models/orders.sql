-- One row a purchase. What changes is mostly in the first second of its life, before it is asked
-- for: later only a refund touches it.
CREATE TABLE orders (
    program         text COLLATE "C" NOT NULL,
    purchase        text COLLATE "C" NOT NULL,
    -- Position of its first event: the order of the list.
    placed_position bigint NOT NULL,
    -- None for a guest.
    account         text COLLATE "C",
    state           text COLLATE "C" NOT NULL,
    -- Why it was, or is being, rejected.
    reason          text,
    -- What discounts took off the prices, and what is left to pay; in minor units of the currency.
    discount        bigint NOT NULL,
    total           bigint NOT NULL,
    currency        text   NOT NULL,
    refunded        bigint NOT NULL,
    placed_at       timestamptz NOT NULL,
    -- Recording of its last event, and that event's sequence in its stream.
    updated_at      timestamptz NOT NULL,
    version         bigint NOT NULL,
    -- What the next event is folded on: see purchases.rs. Text and not jsonb, which costs more to
    -- write and takes no NUL; nobody looks into it but the fold.
    story           text   NOT NULL,
    position        bigint NOT NULL,
    PRIMARY KEY (program, purchase)
);

-- After the load.
CREATE UNIQUE INDEX orders_placed ON orders (program, placed_position);
CREATE INDEX orders_account ON orders (program, account, placed_position);
-- Those that are stuck are few among many.
CREATE INDEX orders_state ON orders (program, state, placed_position);
