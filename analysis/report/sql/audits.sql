-- What `metaloop verify` found.
SELECT audit_id, subject, run_id, verdict, why, n, gain, low, high, recorded_gain, difference, difference_low,
    difference_high, recorded_difference, trust, findings, device_seconds_spent, share, secret_hash, audited_at
FROM audits
ORDER BY audited_at
