-- Each knob and value of settings_held, numbered after those that are there.
INSERT INTO helper.setting_names
SELECT (SELECT count(*) FROM helper.setting_names) + row_number() OVER (ORDER BY h.knob, h.value) - 1, $task,
    ($names::VARCHAR[])[h.knob + 1], h.value
FROM (SELECT DISTINCT knob, value FROM settings_held) AS h
