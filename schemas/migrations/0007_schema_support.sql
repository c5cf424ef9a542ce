-- Releases side by side: a build that knows the schema only up to an earlier migration works on where
-- a newer one has migrated it, unless a later migration took from it what it needs.
CREATE TABLE schema_support (
    id     boolean PRIMARY KEY DEFAULT true CHECK (id),
    -- The last migration that a build has to know at least. Raised by a migration that breaks those
    -- before it.
    oldest bigint  NOT NULL
);
INSERT INTO schema_support (oldest) VALUES (7);
