-- The credit of each directive of this program. Of several rows for one directive: randomised before paired before
-- observational, a planned ablation before the experiments that cite it, an ablation of this program before others,
-- then the one with more data. A gain per device-second is shown per experiment.
SELECT d.directive_id, d.position, d.kind, d.heading, d.text, c.credit_id, c.method, c.design,
    CASE WHEN ends_with(c.unit, ' per device-second') THEN greatest(coalesce(c.device_seconds, 0), 1e-9) / c.n ELSE 1 END
        AS factor,
    c.estimate * factor AS estimate, c.low * factor AS low, c.high * factor AS high,
    c.n, c.q, replace(c.unit, ' per device-second', ' per experiment') AS unit, c.causal, c.task
FROM directives AS d LEFT JOIN credit AS c ON c.directive_id = d.directive_id AND c.estimate IS NOT NULL
WHERE d.program_id = $program
QUALIFY row_number() OVER (PARTITION BY d.directive_id, d.position
    ORDER BY coalesce(list_position(['randomised', 'paired', 'observational'], c.design), 9),
        coalesce(list_position(['factorial', 'directive'], c.method), 9),
        c.program_id IS NOT DISTINCT FROM d.program_id DESC, c.n DESC, c.credit_id) = 1
ORDER BY d.position
