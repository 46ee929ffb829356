-- 95% interval: of the mean, between the n runs. rank: the places that an arm can have by Welch's t tests at 5%, Holm-corrected
-- for all pairs; a match with a champion has one planned test in place of ranks. claimed: the gain by the runs' own
-- measurements, which does not rank.
-- group: match
-- optional: claimed words trust device_seconds_charged
-- hide: match_id arm_id program_id name role se task stream rank_low rank_high usd unit generation purpose label t95 shrunk_gain shrunk_se runs failed_seeds
SELECT concat_ws(' ', CASE m.purpose WHEN 'reserve' THEN 'held-out task' WHEN 'race' THEN if(m.label LIKE 'match-%', 'match', coalesce(m.label, 'race'))
        ELSE coalesce(m.purpose, 'match') END, nullif(m.generation, 0), 'on', s.task || ',', CASE WHEN s.stream <> m.purpose THEN if(f.same_data, 'trained again on the search''s data,', s.stream || ' data,') END,
        'gain in', m.unit) || '   ' || s.match_id[:7] AS match,
    s.match_id, s.arm_id, s.program_id, coalesce(s.name, s.program_id[:7]) AS name, s.role,
    CASE WHEN bool_or(s.role = 'champion') OVER of_match OR s.rank_low IS NULL THEN NULL WHEN s.rank_low = s.rank_high THEN s.rank_low::VARCHAR
        ELSE concat(s.rank_low, '-', s.rank_high) END AS rank, s.gain, s.low, s.high, s.n,
    nullif(s.tokens, 0) AS tokens, CASE WHEN s.tokens > 0 THEN s.usd END AS usd,
    CASE WHEN s.tokens > 0 THEN coalesce(format('${:.3f}', s.usd), 'not priced') END AS price, CASE WHEN s.tokens > 0 THEN s.utilization END AS utilization,
    s.claimed, s.words, s.trust, s.device_seconds_charged,
    CASE WHEN bool_or(s.role = 'champion') OVER of_match THEN NULL ELSE s.rank_low END AS rank_low,
    CASE WHEN bool_or(s.role = 'champion') OVER of_match THEN NULL ELSE s.rank_high END AS rank_high,
    s.se, s.t95, s.shrunk_gain, s.shrunk_se, s.runs, s.failed_seeds, s.task, s.stream, s.purpose, m.unit, m.generation, m.label
FROM standings AS s JOIN matches AS m USING (match_id)
CROSS JOIN (SELECT bool_or((details -> 'decision' ->> 'fresh') IN ('seeds', 'nothing')) AS same_data FROM champions) AS f
WHERE $1 IS NULL OR list_contains($1, s.match_id)
WINDOW of_match AS (PARTITION BY s.match_id)
ORDER BY m.started_at, s.match_id, s.gain IS NULL, s.gain DESC, s.arm_id
