CREATE TABLE events
(
    aggregate_type text                         NOT NULL,
    aggregate_id   text                         NOT NULL,
    sequence       bigint CHECK (sequence >= 0) NOT NULL,
    event_type     text                         NOT NULL,
    event_version  text                         NOT NULL,
    payload        json                         NOT NULL,
    metadata       json                         NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);

CREATE TABLE balance_rows
(
    account   text   NOT NULL PRIMARY KEY,
    available bigint NOT NULL,
    pending   bigint NOT NULL,
    held      bigint NOT NULL,
    debt      bigint NOT NULL,
    position  bigint NOT NULL
);
