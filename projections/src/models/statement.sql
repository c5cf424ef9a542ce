-- Every event of every account, as a line of its statement.
CREATE TABLE statement_entries (
    program     text COLLATE "C" NOT NULL,
    account     text COLLATE "C" NOT NULL,
    position    bigint NOT NULL,
    -- Place among the entries of one event: an event of an older version can make several.
    ordinal     integer NOT NULL,
    kind        text NOT NULL,
    -- What it changes: all points of the account, those that holds pin, and the debt.
    points      bigint NOT NULL,
    held        bigint NOT NULL,
    debt        bigint NOT NULL,
    -- The lot that was issued, or whose issue was reversed.
    lot         text COLLATE "C",
    -- The sale that the lot was awarded for.
    sale        text COLLATE "C",
    -- What led to it, and which lots it moved, as JSON text.
    cause       text NOT NULL,
    lots        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (program, account, position, ordinal)
);
-- Why a lot was awarded is asked while the table is filled, too.
CREATE INDEX statement_awards ON statement_entries (program, account, lot)
    WHERE kind = 'issued' AND cause LIKE '%"campaign":%';

-- After the load.
CREATE INDEX statement_sales ON statement_entries (program, sale) WHERE sale IS NOT NULL;
