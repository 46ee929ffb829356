-- The announced champion, with its text; the last one counts.
SELECT c.program_id, p.name, p.generation, p.operator, p.parent_ids, p.words, p.text, c.named_at,
    (c.details ->> 'holds')::BOOLEAN AS holds, c.details ->> 'trust' AS trust,
    (c.details -> 'champion' ->> 'mean')::DOUBLE AS gain, (c.details -> 'champion' ->> 'low')::DOUBLE AS low,
    (c.details -> 'champion' ->> 'high')::DOUBLE AS high, (c.details -> 'champion' ->> 'n')::BIGINT AS n,
    (c.details -> 'stock' ->> 'mean')::DOUBLE AS stock_gain, (c.details -> 'stock' ->> 'low')::DOUBLE AS stock_low,
    (c.details -> 'stock' ->> 'high')::DOUBLE AS stock_high, (c.details -> 'stock' ->> 'n')::BIGINT AS stock_n,
    (c.details ->> 'difference')::DOUBLE AS difference, (c.details ->> 'low')::DOUBLE AS difference_low,
    (c.details ->> 'high')::DOUBLE AS difference_high, (c.details ->> 'p')::DOUBLE AS p,
    (c.details -> 'without_ideas' ->> 'mean')::DOUBLE AS bare_gain,
    c.details -> 'tasks' AS tasks, c.details -> 'reserve' AS reserve, c.details
FROM champions AS c LEFT JOIN programs AS p USING (program_id)
ORDER BY c.named_at DESC LIMIT 1
