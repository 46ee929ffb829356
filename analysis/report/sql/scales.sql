-- The training tasks, and the divisor of their gains in means over several tasks.
FROM scales
