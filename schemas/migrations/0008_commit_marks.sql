-- The first four bytes of each event's leaf, in order: a root says that an event of its batch is not
-- the one that was written, these say which. They prove nothing, and are not chained. None for a
-- batch of a build from before.
ALTER TABLE commits ADD COLUMN marks bytea;
-- Hashes do not get smaller.
ALTER TABLE commits ALTER COLUMN marks SET STORAGE EXTERNAL;
