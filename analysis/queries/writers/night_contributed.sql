-- What each program did in a night, with its name.
SELECT c.*, p.name FROM contributions AS c LEFT JOIN programs AS p USING (program_id)
