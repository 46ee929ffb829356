-- Estimate: the gain of a steered program over its parent (metaloop credit --method mutation), with its 95% interval.
-- hide: unit
-- optional: child_id n
SELECT child_id, any_value(estimate) AS estimate, any_value(low) AS low, any_value(high) AS high, any_value(n) AS n,
    any_value(unit) AS unit
FROM credit WHERE method = 'mutation' GROUP BY child_id HAVING count(*) = 1
