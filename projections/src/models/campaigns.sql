-- What each campaign is. Its totals are those of its days.
CREATE TABLE campaigns (
    program          text COLLATE "C" NOT NULL,
    campaign         text COLLATE "C" NOT NULL,
    name             text   NOT NULL,
    status           text   NOT NULL,
    -- Version of the rules, and the rules as JSON text.
    version          bigint NOT NULL,
    rules            text   NOT NULL,
    -- Sequence of the last event of its stream.
    stream_version   bigint NOT NULL,
    created_position bigint NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    position         bigint NOT NULL,
    PRIMARY KEY (program, campaign)
);

-- What each campaign gave and what of it was taken back, by the UTC day of the business time.
CREATE TABLE campaign_days (
    program  text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    day      date   NOT NULL,
    awards   bigint NOT NULL,
    points   bigint NOT NULL,
    reversed bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (program, campaign, day)
) WITH (fillfactor = 80);

-- Which campaign made a lot: a reversal names the lot only.
CREATE TABLE campaign_awards (
    program  text COLLATE "C" NOT NULL,
    account  text COLLATE "C" NOT NULL,
    lot      text COLLATE "C" NOT NULL,
    campaign text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (program, account, lot)
);

-- After the load.
