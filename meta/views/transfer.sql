-- 95% interval: of the mean, between the n runs. ratio: to stock's mean gain, where that is significantly above 0.
-- group: on
-- hide: task place se unit stock_gain stream trust program_id
SELECT concat(task, ' (', CASE place WHEN 'home' THEN 'training task' WHEN 'new' THEN 'new task' ELSE
        if(stream = 'reserve', 'held-out task', 'other task') END, '), gain in ', unit, ', ', stream, ' data') AS on,
    task, place, name, role, gain, low, high, se, n, unit, ratio, stock_gain, stream, trust, program_id
FROM transfer
