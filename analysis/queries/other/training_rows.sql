-- Rows for training a model that writes programs: the conversation with a model that ended with a child, the texts of
-- its parents and its own, and its verified gain over its parent. clean is a function of `analysis.export`. shown: the
-- gain is significant at 90% on a task, a loss on none.
CREATE MACRO message(speaker, said) AS {'role': speaker, 'content': clean(said)};

CREATE TABLE written AS
WITH RECURSIVE attempts AS (
    SELECT place, unnest(from_json(record, '{
        "generation": "BIGINT", "attempt": "BIGINT", "child_id": "VARCHAR", "parent_ids": ["VARCHAR"],
        "operator": "VARCHAR", "model": "VARCHAR", "meta_program_id": "VARCHAR", "accepted": "BOOLEAN",
        "call": "BIGINT", "repairs": "VARCHAR", "prompt": [{"role": "VARCHAR", "text": "VARCHAR"}]}'))
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
SELECT list_append(list_transform(prompt, lambda m: message(m.role, m.text)), message('assistant', reply)) AS messages,
    (SELECT any_value(study_id) FROM studies) AS study, generation, attempt, operator, model, meta_program_id, repairs,
    child_id, (SELECT clean(any_value(text)) FROM programs WHERE program_id = children.child_id) AS child, parent_ids,
    (SELECT list(clean(p.text) ORDER BY list_position(children.parent_ids, p.program_id)) FROM programs AS p
        WHERE list_contains(children.parent_ids, p.program_id)) AS parents,
    lineage, shown, unnest(CASE WHEN len(gains) = 1 THEN gains[1] END), gains
FROM children JOIN replies USING (call) JOIN known USING (child_id) JOIN lineages USING (child_id)
ORDER BY generation, attempt;
