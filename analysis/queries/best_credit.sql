-- Of each directive of a program the best credit row, also in the report: randomised before paired before
-- observational, a planned ablation before the experiments that cite it, an ablation of this program before others.
SELECT c.* FROM credit AS c JOIN (SELECT DISTINCT directive_id FROM directives WHERE program_id = $1) USING (directive_id)
QUALIFY row_number() OVER (PARTITION BY c.directive_id ORDER BY
    coalesce(list_position(['randomised', 'paired', 'observational'], c.design), 9),
    coalesce(list_position(['factorial', 'directive'], c.method), 9),
    c.program_id IS NOT DISTINCT FROM $1 DESC, c.n DESC, c.credit_id) = 1
