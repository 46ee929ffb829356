-- settings_held in numbers, in no order.
INSERT INTO helper.settings
SELECT h.run, h.number, n.id
FROM settings_held AS h JOIN helper.setting_names AS n
    ON n.task = $task AND n.knob = ($names::VARCHAR[])[h.knob + 1] AND n.value = h.value
