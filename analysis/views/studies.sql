-- One row per study that the ledger names (one, unless ledgers were merged); the last record holds.
SELECT study_id, config, version, min(coalesce(started_at, written_at)) OVER (PARTITION BY study_id) AS started_at
FROM recorded.study
QUALIFY row_number() OVER (PARTITION BY study_id ORDER BY place DESC) = 1
ORDER BY started_at
