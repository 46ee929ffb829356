-- What trying each directive of this program did to the script: the experiments that cite it, kept or not. For the
-- report's tables only; a directive may have a stronger row about having it (directive_credit).
SELECT d.directive_id, d.kind, d.text, c.credit_id, c.method, c.design,
    greatest(coalesce(c.device_seconds, 0), 1e-9) / c.n AS factor,
    c.estimate * factor AS estimate, c.low * factor AS low, c.high * factor AS high,
    c.n, c.q, replace(c.unit, ' per device-second', ' per experiment') AS unit, c.causal, c.task
FROM directives AS d JOIN credit AS c ON c.directive_id = d.directive_id AND c.method = 'directive'
WHERE d.program_id = $program AND c.estimate IS NOT NULL
ORDER BY d.position, c.n DESC, c.credit_id
