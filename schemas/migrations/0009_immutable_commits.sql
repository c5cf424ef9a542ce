-- The chain is as immutable as the events that it proves.
CREATE FUNCTION commits_are_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'commits are immutable';
END
$$;
CREATE TRIGGER commits_are_immutable
    BEFORE UPDATE OR DELETE OR TRUNCATE ON commits
    FOR EACH STATEMENT EXECUTE FUNCTION commits_are_immutable();
