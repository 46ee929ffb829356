-- Which experiments held them, in no order.
SELECT run, number, id FROM helper.settings
WHERE id BETWEEN (SELECT min(id) FROM helper.setting_names WHERE task = $task)
    AND (SELECT max(id) FROM helper.setting_names WHERE task = $task)
