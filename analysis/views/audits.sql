-- What `metaloop verify` found, in order; nothing of it ranks or chooses anything.
WITH recorded AS (
    SELECT place, written_at, record, unnest(from_json(record, '{
        "audit_id": "VARCHAR", "subject": "VARCHAR", "run_id": "VARCHAR", "verdict": "VARCHAR", "why": "VARCHAR",
        "n": "BIGINT", "gain": "DOUBLE", "low": "DOUBLE", "high": "DOUBLE", "recorded_gain": "DOUBLE",
        "claimed_gain": "DOUBLE", "difference": "DOUBLE", "difference_low": "DOUBLE", "difference_high": "DOUBLE",
        "recorded_difference": "DOUBLE", "trust": "VARCHAR", "findings": "BIGINT", "device_seconds_spent": "DOUBLE",
        "share": "DOUBLE", "secret_hash": "VARCHAR", "secret": "VARCHAR", "hardware_class": "VARCHAR"}'))
    FROM events WHERE kind = 'audit')
SELECT audit_id, subject, run_id, verdict, why, n, gain, low, high, recorded_gain, claimed_gain, difference,
    difference_low, difference_high, recorded_difference, trust, findings, device_seconds_spent, share, secret_hash,
    secret, hardware_class, record AS details, written_at AS audited_at
FROM recorded
ORDER BY place
