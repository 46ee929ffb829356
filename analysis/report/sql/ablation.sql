-- What planned ablations estimated: directives of a program switched on and off, kept commits trained with and without.
SELECT credit_id, program_id, directive_id, label, method, design, estimate, se, low, high, n, q, unit, task
FROM credit
WHERE method IN ('factorial', 'ablation', 'add-one-in', 'leave-one-out', 'shapley') AND estimate IS NOT NULL
ORDER BY method, estimate DESC, credit_id
