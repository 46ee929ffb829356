-- Every record of every segment, in the order in which a study reads them. record holds it whole.
SELECT place, "at" AS written_at, segment, seq, kind, run_id, match_id, "schema", record
FROM recorded.lines JOIN recorded.places USING (segment, seq)
