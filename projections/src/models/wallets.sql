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

-- After the load.
