-- The credit of each directive of this program. Of several rows: randomised before paired before observational, a
-- planned ablation before the experiments that cite it, an ablation of this program before others.
SELECT d.directive_id, d.position, d.kind, d.heading, d.text, c.credit_id, c.method, c.design,
    c.estimate, c.low, c.high, c.n, c.q, c.unit, c.causal, coalesce(c.significant, false) AS significant, c.task
FROM directives AS d LEFT JOIN credit AS c ON c.directive_id = d.directive_id AND c.estimate IS NOT NULL
WHERE d.program_id = $program
QUALIFY row_number() OVER (PARTITION BY d.directive_id, d.position
    ORDER BY coalesce(list_position(['randomised', 'paired', 'observational'], c.design), 9),
        coalesce(list_position(['factorial', 'directive'], c.method), 9),
        c.program_id IS NOT DISTINCT FROM d.program_id DESC, c.n DESC, c.credit_id) = 1
ORDER BY d.position
