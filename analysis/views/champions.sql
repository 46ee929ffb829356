-- One row per champion that the study named, in order; the last one holds.
SELECT record ->> 'program_id' AS program_id, record AS details, written_at AS named_at
FROM events WHERE kind = 'champion'
ORDER BY place
