-- What came in and went out, by the UTC day, the currency and the way of paying. Sums stop at the
-- largest number instead of failing: what is beyond it is no money that anybody counts.
CREATE TABLE takings (
    program         text COLLATE "C" NOT NULL,
    day             date   NOT NULL,
    currency        text COLLATE "C" NOT NULL,
    -- `points`, `wallet` or `card`.
    tender          text COLLATE "C" NOT NULL,
    -- Purchases that were paid with it, alone or among others.
    sales           bigint NOT NULL,
    -- In minor units; of points, what they stood for.
    taken           bigint NOT NULL,
    returned        bigint NOT NULL,
    points_taken    bigint NOT NULL,
    points_returned bigint NOT NULL,
    position        bigint NOT NULL,
    PRIMARY KEY (program, day, currency, tender)
) WITH (fillfactor = 80);

-- How each completed purchase was paid: a refund names the numbers of tenders only.
CREATE TABLE takings_purchases (
    program  text COLLATE "C" NOT NULL,
    purchase text COLLATE "C" NOT NULL,
    -- Their kinds in order, with commas between.
    tenders  text   NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (program, purchase)
);
