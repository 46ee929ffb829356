-- Of each directive of a program the credit row with the best design: its own ablation, any ablation, children minus
-- parents, then experiments that cite it, then runs that followed it. The report uses the same order.
SELECT c.* FROM credit AS c JOIN (SELECT DISTINCT directive_id FROM directives WHERE program_id = $1) USING (directive_id)
QUALIFY row_number() OVER (PARTITION BY c.directive_id ORDER BY
    coalesce(list_position(['randomised', 'paired', 'observational'], c.design), 9),
    coalesce(list_position(['factorial', 'having', 'directive', 'following'], c.method), 9),
    c.program_id IS NOT DISTINCT FROM $1 DESC, c.n DESC, c.credit_id) = 1
