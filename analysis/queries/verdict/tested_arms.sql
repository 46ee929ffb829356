-- Of each role in a match, the gains of its runs, and the share of their verifications that were compared with the baseline.
SELECT role, list(verified_gain ORDER BY run_id) AS gains, sum(compared) / sum(verified_seeds) AS touched
FROM verified_runs() WHERE match_id = $match GROUP BY role
