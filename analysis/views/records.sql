-- Helper of the views: the parsed lines, oldest first.
SELECT row_number() OVER (ORDER BY "at", segment, seq) AS place, "at" AS written_at, * EXCLUDE ("at")
FROM parsed
ORDER BY place
