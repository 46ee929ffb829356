-- The credit of each directive of each program on each task. Of several rows for one directive the first counts, in the
-- order of the report.
SELECT d.program_id, d.position, d.directive_id, d.kind, d.heading, left(d.text, 300) AS text, c.credit_id, c.method,
    c.design,
    CASE WHEN ends_with(c.unit, ' per device-second') THEN greatest(coalesce(c.device_seconds, 0), 1e-9) / c.n ELSE 1 END
        AS factor,
    c.estimate * factor AS estimate, c.low * factor AS low, c.high * factor AS high, c.n, c.q,
    replace(c.unit, ' per device-second', ' per experiment') AS unit, c.causal, c.task
FROM directives AS d LEFT JOIN credit AS c ON c.directive_id = d.directive_id AND c.estimate IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY d.program_id, d.directive_id, d.position, c.task
    ORDER BY coalesce(list_position(['randomised', 'paired', 'observational'], c.design), 9),
        coalesce(list_position(['factorial', 'directive'], c.method), 9),
        c.program_id IS NOT DISTINCT FROM d.program_id DESC, c.n DESC, c.credit_id) = 1
ORDER BY d.program_id, d.position, c.task
