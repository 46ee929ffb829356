-- Each (knob, value) of `joint_values` with how often it was held, numbered.
SELECT knob, value, count(*) AS n, row_number() OVER (ORDER BY knob, value) - 1 AS id
FROM joint_values GROUP BY knob, value
