-- What each account has. Times are applied by the reader: nothing here depends on when it is read.
CREATE TABLE balance_accounts (
    program  text COLLATE "C" NOT NULL,
    account  text COLLATE "C" NOT NULL,
    -- Sums over the lots: points that no hold pins, lapsed and pending ones included; and the rest.
    free     bigint NOT NULL CHECK (free >= 0),
    held     bigint NOT NULL CHECK (held >= 0),
    debt     bigint NOT NULL CHECK (debt >= 0),
    -- Sequence of the last event of its stream.
    version  bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (program, account)
) WITH (fillfactor = 80);

-- Lots that have points left, or of which a captured hold spent some: those may come back. The row
-- of any other lot is gone.
CREATE TABLE balance_lots (
    program         text COLLATE "C" NOT NULL,
    account         text COLLATE "C" NOT NULL,
    lot             text COLLATE "C" NOT NULL,
    issued          bigint NOT NULL,
    free            bigint NOT NULL CHECK (free >= 0),
    held            bigint NOT NULL CHECK (held >= 0),
    -- Spent by captured holds, and not come back.
    captured        bigint NOT NULL CHECK (captured >= 0),
    available_from  timestamptz,
    -- 'infinity': never, so that an index range finds what has lapsed and what has not.
    expires_at      timestamptz NOT NULL,
    -- JSON as text: rows are compared, and json has no equality.
    source          text NOT NULL,
    -- Order of issue.
    issued_position bigint NOT NULL,
    position        bigint NOT NULL,
    -- In the order in which rows come when they are many: neighbours share pages of the index.
    PRIMARY KEY (account, lot, program)
) WITH (fillfactor = 90);

-- Open holds and the parts of lots that they pin, as JSON text.
CREATE TABLE balance_holds (
    program  text COLLATE "C" NOT NULL,
    account  text COLLATE "C" NOT NULL,
    hold     text COLLATE "C" NOT NULL,
    points   bigint NOT NULL,
    parts    text   NOT NULL,
    until    timestamptz,
    position bigint NOT NULL,
    PRIMARY KEY (program, account, hold)
);

-- After the load.
-- The account first: programs are few, and a sort by them gets nowhere.
CREATE INDEX balance_lots_expiry
    ON balance_lots (account, program, expires_at, issued_position);
CREATE INDEX balance_lots_pending
    ON balance_lots (account, program, available_from) WHERE available_from IS NOT NULL;
