-- One row per arm whose best source, by the metric that its runs saw, was measured afresh (best-of-N); ranks nothing.
SELECT match_id, arm_id, program_id, role, task, stream, "of", run_id, source_id, claimed_gain, gain, se, low, high, n,
    failed, trust, device_seconds_spent, written_at AS measured_at
FROM (
    SELECT place, written_at, unnest(from_json(record, '{
        "match_id": "VARCHAR", "arm_id": "VARCHAR", "program_id": "VARCHAR", "role": "VARCHAR", "task": "VARCHAR",
        "stream": "VARCHAR", "of": "BIGINT", "run_id": "VARCHAR", "source_id": "VARCHAR", "claimed_gain": "DOUBLE",
        "gain": "DOUBLE", "se": "DOUBLE", "low": "DOUBLE", "high": "DOUBLE", "n": "BIGINT", "failed": "BIGINT",
        "trust": "VARCHAR", "device_seconds_spent": "DOUBLE"}'))
    FROM events WHERE kind = 'best_of')
QUALIFY row_number() OVER (PARTITION BY arm_id ORDER BY place) = 1
ORDER BY place
