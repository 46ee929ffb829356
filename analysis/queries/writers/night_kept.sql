-- What became `main` in a night: the turn, its program, the change and its gain.
SELECT t.number, t.program_id, p.name, t.gain, e.description
FROM night_turns AS t JOIN experiments AS e ON e.run_id = t.run_id AND e.number = t.kept LEFT JOIN programs AS p ON p.program_id = t.program_id
ORDER BY t.run_id, t.number
