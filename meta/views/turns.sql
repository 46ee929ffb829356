-- Turns of each program on main, with what they kept; gain per hour of its device time, with a 95% interval.
SELECT name, turns, kept, gain, gain_per_hour AS per_hour, low, high
FROM contributions JOIN programs USING (program_id) ORDER BY gain DESC
