-- Rows for training a model that writes programs: `sft`, a conversation with a model that ended with a child whose gain
-- over its parent is known, and `dpo`, two such conversations about the same parents, of which one child gained more.
-- clean, t_test and t_quantile are functions of `analysis.export`. shown: significant at 90% on a task, a loss on none.
CREATE MACRO message(speaker, said, calls, answered) AS {
    'role': speaker, 'content': clean(said), 'tool_calls': calls::STRUCT(id VARCHAR, "type" VARCHAR,
        "function" STRUCT("name" VARCHAR, arguments VARCHAR))[], 'tool_call_id': answered::VARCHAR};

CREATE TABLE sft AS
WITH RECURSIVE attempts AS (
    SELECT place, unnest(from_json(record, '{
        "generation": "BIGINT", "attempt": "BIGINT", "child_id": "VARCHAR", "parent_ids": ["VARCHAR"],
        "operator": "VARCHAR", "model": "VARCHAR", "meta_program_id": "VARCHAR", "accepted": "BOOLEAN",
        "call": "BIGINT", "repairs": "VARCHAR", "prompt": [{"role": "VARCHAR", "text": "VARCHAR"}],
        "turns": [{"call": "BIGINT", "text": "VARCHAR",
            "tools": [{"name": "VARCHAR", "arguments": "VARCHAR", "result": "VARCHAR"}]}]}'))
    FROM events WHERE kind = 'mutation'),
children AS (
    FROM attempts WHERE accepted AND child_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY generation, attempt ORDER BY place DESC) = 1),
-- Children of which one descends from the other, or that were asked for with the same parents: of one lineage.
links AS (
    SELECT a.child_id AS one, b.child_id AS other
    FROM children AS a JOIN children AS b ON list_contains(a.parent_ids, b.child_id)
        OR list_contains(b.parent_ids, a.child_id)
        OR (a.generation, a.parent_ids, a.operator) = (b.generation, b.parent_ids, b.operator)),
related AS (
    SELECT one, other FROM links
    UNION
    SELECT related.one, links.other FROM related JOIN links ON links.one = related.other),
lineages AS (SELECT one AS child_id, min(other) AS lineage FROM related GROUP BY one),
replies AS (
    SELECT number AS call, first(text ORDER BY written_at) AS reply FROM calls
    WHERE run_id IS NULL AND status <> 'failed' GROUP BY number),
known AS (
    SELECT program_id AS child_id, coalesce(bool_or(estimate > 0 AND p <= 0.1), false) AND bool_and(estimate >= 0)
        AS shown, list({'task': task, 'unit': unit, 'gain': estimate, 'gain_low': low, 'gain_high': high,
            'se': se, 'n': n, 'p': p, 'design': design} ORDER BY task) AS gains
    FROM credit WHERE method = 'mutation' GROUP BY program_id)
SELECT list_concat(
        list_transform(prompt, lambda m: message(m.role, m.text, NULL, NULL)),
        flatten(list_transform(coalesce(turns, []), lambda turn: list_concat(
            [message('assistant', turn.text, list_transform(turn.tools, lambda tool, i: {
                'id': format('call_{}_{}', turn.call, i - 1), 'type': 'function',
                'function': {'name': clean(tool.name), 'arguments': clean(tool.arguments)}}), NULL)],
            list_transform(turn.tools, lambda tool, i:
                message('tool', tool.result, NULL, format('call_{}_{}', turn.call, i - 1)))))),
        [message('assistant', reply, NULL, NULL)]) AS messages,
    (SELECT any_value(study_id) FROM studies) AS study, generation, attempt, operator, model, meta_program_id, repairs,
    child_id, parent_ids, lineage, shown, unnest(CASE WHEN len(gains) = 1 THEN gains[1] END), gains
FROM children JOIN replies USING (call) JOIN known USING (child_id) JOIN lineages USING (child_id)
ORDER BY generation, attempt;

CREATE TABLE dpo AS
WITH gained AS (
    SELECT match_id, task, program_id, run_seed, last(verified_gain ORDER BY run_id) AS gain
    FROM runs
    WHERE state = 'finished' AND verified_gain IS NOT NULL AND program_id IS NOT NULL
        AND purpose IS DISTINCT FROM 'ablation' AND role IS DISTINCT FROM 'a/a'
    GROUP BY ALL),
-- A reply stands for another one if it has the same form, and there were no rounds of tools, which no other shares.
answers AS (
    SELECT *, (generation, parent_ids, operator, repairs, lower(regexp_extract_all(messages[-1].content,
        '(?m)^<\w+(?: name="[^"\n]*")?>')::VARCHAR)) AS job
    FROM sft WHERE len(list_filter(messages, lambda m: m.role = 'assistant')) = 1),
differences AS (
    SELECT a.child_id AS chosen_id, b.child_id AS rejected_id, x.task, avg(x.gain - y.gain) AS margin,
        stddev_samp(x.gain - y.gain) / sqrt(count(*)) AS se, count(*) AS n
    FROM answers AS a JOIN answers AS b ON a.job IS NOT DISTINCT FROM b.job AND a.child_id <> b.child_id
        JOIN gained AS x ON x.program_id = a.child_id
        JOIN gained AS y ON y.program_id = b.child_id
            AND (x.match_id, x.task, x.run_seed) = (y.match_id, y.task, y.run_seed)
    GROUP BY ALL HAVING count(*) >= 2),
tested AS (
    SELECT *, t_test(margin, se, n - 1) AS p, t_quantile(0.975, n - 1) * se AS half FROM differences),
pairs AS (
    SELECT chosen_id, rejected_id,
        coalesce(bool_or(margin > 0 AND p <= 0.1), false) AND bool_and(margin >= 0) AS shown,
        list({'task': task, 'margin': margin, 'margin_low': margin - half, 'margin_high': margin + half, 'se': se, 'n': n,
            'p': p} ORDER BY task) AS margins
    FROM tested GROUP BY ALL
    HAVING sum(coalesce(margin / nullif(se, 0), sign(margin))) > 0
        OR (sum(coalesce(margin / nullif(se, 0), sign(margin))) = 0 AND chosen_id < rejected_id))
SELECT c.messages[:-2] AS prompt, c.messages[-1:] AS chosen, r.messages[-1:] AS rejected,
    c.messages[:-2] = r.messages[:-2] AS same_prompt, c.study, c.generation, c.attempt, c.operator, c.model,
    c.meta_program_id, chosen_id, rejected_id, c.parent_ids, c.lineage, pairs.shown,
    unnest(CASE WHEN len(margins) = 1 THEN margins[1] END), margins
FROM pairs JOIN answers AS c ON c.child_id = chosen_id JOIN answers AS r ON r.child_id = rejected_id
ORDER BY c.generation, c.attempt, r.attempt;
