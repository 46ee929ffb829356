-- Constraints of the tasks: what the final sources of each arm reach, on average over their verifications.
FROM constraints
WHERE list_contains($matches, match_id)
ORDER BY match_id, name, arm_id
