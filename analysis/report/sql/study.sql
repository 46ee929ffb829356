-- What identifies the study: ids, versions, settings, and the hash of the last record of each segment of its ledger.
-- The WHERE at the end repeats the join, so that the text of few records is read.
WITH ends AS MATERIALIZED (
    SELECT segment, count(*) AS records, max(seq) AS seq, max(written_at) AS written_at FROM events GROUP BY segment),
s AS (SELECT * FROM studies ORDER BY started_at DESC LIMIT 1)
SELECT 'study' AS what, study_id AS value FROM s
UNION ALL SELECT 'created', started_at::VARCHAR FROM s
UNION ALL SELECT 'last record', max(written_at)::VARCHAR FROM ends
UNION ALL SELECT 'task', string_agg(DISTINCT task || ' (' || task_id || ')', ', ') FROM matches
UNION ALL SELECT 'device-seconds of a run', string_agg(DISTINCT run_budget::VARCHAR, ', ') FROM matches
UNION ALL SELECT 'hardware', string_agg(DISTINCT hardware_class, ', ') FROM matches
UNION ALL SELECT 'researcher', config ->> 'researcher' FROM s
UNION ALL SELECT 'versions', config ->> 'versions' FROM s
UNION ALL SELECT 'plan', config ->> 'plan' FROM s
UNION ALL SELECT 'ledger ' || e.segment || ', ' || e.records || ' records', events.record ->> 'hash'
    FROM ends AS e JOIN events USING (segment, seq) WHERE events.seq IN (SELECT seq FROM ends)
