-- The rows of the method, a task each, without those of reserved tasks.
SELECT task, label, estimate, low, high, n, q, design, unit, credit_id FROM credit WHERE method = $method
ORDER BY label, task
