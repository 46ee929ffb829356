-- score: mean of log(1 + gain / SD between seeds) over the turns of a program. difference: from the other programs in the
-- same blocks, with its 95% interval over turns. kept, failed: share of the turns. tokens: of a turn.
SELECT p.name, l.turns, l.score, l.difference, l.low, l.high, l.kept, l.failed,
    (SELECT sum(tokens) FROM calls WHERE calls.program_id = l.program_id)::BIGINT // l.turns AS tokens, l.program_id
FROM league AS l JOIN programs AS p USING (program_id) ORDER BY l.score DESC
