-- `joint_values` in numbers, in no order.
SELECT run, number, id FROM joint_values JOIN joint_names USING (knob, value)
