-- 95% interval: of the mean, between the n runs. ratio: to stock's mean gain, where that is significantly above 0.
-- p: one-sided test of a larger gain than stock's (Holm).
-- group: on
-- hide: task place se unit p_alone stock_gain stream trust program_id
SELECT concat(task, ' (', CASE place WHEN 'home' THEN 'training task' WHEN 'new' THEN 'new task' ELSE
        if(stream = 'reserve', 'held-out task', 'other task') END, '), gain in ', unit, ', ', stream, ' data') AS on,
    task, place, name, role, gain, low, high, se, n, unit, ratio, p AS p_alone, p_adjusted AS p, stock_gain, stream, trust, program_id
FROM transfer
