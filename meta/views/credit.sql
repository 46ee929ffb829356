-- Positive is better. q: p-value corrected for the number of tests (-: not tested). n: tries of the search (edit,
-- directive), pairs of runs (mutation), else runs or seeds. An observational row is an association. Of a sentence it is
-- the average change of the score by the experiments that cite it, kept or not; it is not shown beside a planned
-- ablation. Three rows on one thing answer three questions: what the change does in the untouched script (edit), what
-- trying the sentence brought (directive), what having it does to whole runs (factorial: this one decides). Effects of a search are about its data; what holds on new data is the statement of the confirmation.
-- p_holm: of a planned ablation, p corrected over its directives; followed: whether anything that a model did differs
-- with the sentence, which is another question than its effect. metaloop show ROW lists the data behind a row.
-- group: method_of
-- hide: se unit method design causal task knob value program_id directive_id child_id experiment_id match_id run_id listed
WITH planned AS (SELECT DISTINCT task, directive_id FROM credit WHERE method = 'factorial' AND directive_id IS NOT NULL)
SELECT concat(c.method, CASE c.method WHEN 'leave-one-out' THEN ': a kept change removed from the end of its run'
        WHEN 'edit' THEN ': a single change to the untouched script, by the model of all experiments'
        WHEN 'directive' THEN ': experiments that cite the sentence, compared with the script that they changed'
        WHEN 'mutation' THEN ': child minus its parent, of several one of them'
        WHEN 'factorial' THEN ': the sentence in a planned ablation' ELSE '' END,
        ', in ', c.unit, ' (', c.design, if(c.causal, '', ', an association'), '), on ', c.task) AS method_of,
    c.label, c.estimate, c.low, c.high, c.se, c.unit, c.n, c.q, c.p_holm,
    CASE WHEN c.is_followed THEN 'yes' WHEN NOT c.is_followed THEN 'not shown' END AS followed, c.method, c.design, c.causal, c.task, c.knob, c.value,
    c.program_id, c.directive_id, c.child_id, c.experiment_id, c.match_id, c.run_id, c.credit_id,
    c.significant AND NOT (c.method = 'directive' AND p.task IS NOT NULL) AS listed
FROM credit AS c LEFT JOIN planned AS p ON p.task = c.task AND p.directive_id = c.directive_id
WHERE $1 IS NULL OR c.method = $1
ORDER BY method_of, c.estimate IS NULL, c.estimate DESC, c.credit_id
