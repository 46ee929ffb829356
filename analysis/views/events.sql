-- Every record of every segment, oldest first; record holds it whole. A torn line reads as NULL and is left out.
SELECT place, written_at, segment, seq, kind, run_id, match_id, "schema", record
FROM records
ORDER BY place
