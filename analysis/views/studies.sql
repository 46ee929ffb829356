-- One row per study that the ledger names (one, unless ledgers were merged); the last record holds.
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "study_id": "VARCHAR", "config": "JSON", "version": "VARCHAR", "started_at": "TIMESTAMP"}'))
    FROM events WHERE kind = 'study')
SELECT study_id, config, version,
    min(coalesce(started_at, written_at)) OVER (PARTITION BY study_id) AS started_at
FROM recorded
QUALIFY row_number() OVER (PARTITION BY study_id ORDER BY place DESC) = 1
ORDER BY started_at
