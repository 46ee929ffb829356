-- The last record of every segment of the ledger: these hashes identify the study.
WITH ends AS (SELECT segment, count(*) AS records, max(seq) AS seq FROM events GROUP BY segment)
SELECT e.segment, e.records, events.record ->> 'hash' AS head
FROM ends AS e JOIN events USING (segment, seq)
ORDER BY e.segment
