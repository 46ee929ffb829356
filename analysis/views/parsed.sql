-- Helper of the views: the lines of the ledger, each parsed once, with all that views of the common kinds read of them.
SELECT *, unnest(from_json(record, '{
    "seq": "BIGINT", "at": "TIMESTAMP", "schema": "BIGINT", "kind": "VARCHAR", "run_id": "VARCHAR",
    "match_id": "VARCHAR", "experiment_id": "VARCHAR", "number": "BIGINT", "parent_number": "BIGINT",
    "source_id": "VARCHAR", "parent_source_id": "VARCHAR", "edit": "JSON", "config": "JSON", "seed": "BIGINT",
    "replicate": "BIGINT", "fraction": "DOUBLE", "status": "VARCHAR", "metric": "DOUBLE",
    "device_seconds_charged": "DOUBLE", "device_seconds_spent": "DOUBLE", "wall_seconds": "DOUBLE",
    "peak_memory_mb": "DOUBLE", "utilization": "DOUBLE", "steps": "BIGINT", "description": "VARCHAR", "proposer": "VARCHAR",
    "directive_ids": ["VARCHAR"], "trust": "VARCHAR", "cached": "BOOLEAN", "reason": "VARCHAR", "diff": "VARCHAR",
    "started_at": "TIMESTAMP", "decision": "VARCHAR", "line": "BIGINT", "constraints": "JSON", "program_id": "VARCHAR"}'))
FROM lines
