-- Answers are found by a digest of their command's id (the first 16 bytes of its SHA-256): every
-- command adds a key to this index, at a random place, so the smaller it is the better. The id
-- itself is in the metadata of the command's events.
ALTER TABLE idempotency RENAME TO idempotency_by_id;
ALTER INDEX idempotency_recorded_at RENAME TO idempotency_by_id_recorded_at;
CREATE TABLE idempotency (
    command     uuid        NOT NULL,
    -- Position of the command's last event (or of the head, when it had none), and their number.
    position    bigint      NOT NULL,
    -- The stream's version in the answer.
    version     bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    events      integer     NOT NULL,
    program     text COLLATE "C" NOT NULL,
    fingerprint bytea       NOT NULL,
    -- The refusal, when the command was refused by decision.
    refusal     json
);
INSERT INTO idempotency
SELECT encode(substring(sha256(convert_to(key, 'UTF8')) FOR 16), 'hex')::uuid,
       position, version, recorded_at, events, program, fingerprint, refusal
  FROM idempotency_by_id;
DROP TABLE idempotency_by_id;
ALTER TABLE idempotency ADD PRIMARY KEY (command, program);
CREATE INDEX idempotency_recorded_at ON idempotency USING brin (recorded_at);
COMMENT ON TABLE idempotency IS
    'Answers of commands. command: the first 16 bytes of the SHA-256 of the command''s id.';
