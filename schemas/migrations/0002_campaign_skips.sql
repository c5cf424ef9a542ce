-- Rules that could not be judged, counted by whoever judges. Not a read model: what was skipped,
-- and why, cannot be told from the log alone.
CREATE TABLE campaign_skips (
    program       text   NOT NULL,
    campaign      text   NOT NULL,
    version       bigint NOT NULL,
    -- The rule's place in its version, from 1; 0 for the campaign as a whole.
    rule          bigint NOT NULL,
    -- Stable name of the reason.
    reason        text   NOT NULL,
    count         bigint NOT NULL,
    -- The event that was judged last, and what was wrong with it.
    last_position bigint NOT NULL,
    last_detail   text   NOT NULL,
    PRIMARY KEY (program, campaign, version, rule, reason)
);
