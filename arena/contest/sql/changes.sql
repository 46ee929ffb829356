-- The number of the latest change of each entry, whichever process made it: arrival, state, runs or attempts.
INSERT INTO changes (number, "change") SELECT number, number FROM entries WHERE true ON CONFLICT DO NOTHING;

CREATE TRIGGER IF NOT EXISTS entry_came AFTER INSERT ON entries BEGIN
    INSERT OR REPLACE INTO changes (number, "change")
    VALUES (NEW.number, (SELECT coalesce(max("change"), 0) + 1 FROM changes)); END;

CREATE TRIGGER IF NOT EXISTS entry_moved AFTER UPDATE OF state, runs_done, attempts ON entries
WHEN OLD.state IS NOT NEW.state OR OLD.runs_done IS NOT NEW.runs_done OR OLD.attempts IS NOT NEW.attempts BEGIN
    INSERT OR REPLACE INTO changes (number, "change")
    VALUES (NEW.number, (SELECT coalesce(max("change"), 0) + 1 FROM changes)); END;

CREATE INDEX IF NOT EXISTS entries_served ON entries (person_id, state, runs_done);
