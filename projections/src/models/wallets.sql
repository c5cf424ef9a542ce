-- What each wallet has of each currency, in minor units.
CREATE TABLE wallets (
    program   text COLLATE "C" NOT NULL,
    wallet    text COLLATE "C" NOT NULL,
    currency  text COLLATE "C" NOT NULL,
    available bigint NOT NULL CHECK (available >= 0),
    -- Set aside by holds whose end is not recorded.
    held      bigint NOT NULL CHECK (held >= 0),
    -- Of the last event that changed it.
    position  bigint NOT NULL,
    PRIMARY KEY (program, wallet, currency)
) WITH (fillfactor = 80);

-- Holds that have a deadline, until their end is recorded.
CREATE TABLE wallet_holds (
    program  text COLLATE "C" NOT NULL,
    wallet   text COLLATE "C" NOT NULL,
    hold     text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    -- In minor units.
    amount   bigint NOT NULL,
    until    timestamptz NOT NULL,
    -- Of the event that placed it.
    position bigint NOT NULL,
    PRIMARY KEY (program, wallet, hold)
);

-- After the load.
