-- The SD of the metric between training seeds, pooled over the sources that a run has trained in full with several.
SELECT sqrt(sum(squares) / sum(n - 1)) AS sd
FROM (SELECT var_pop(metric) * count(*) AS squares, count(*) AS n FROM experiments
      WHERE run_id = $run AND status = 'ok' AND fraction >= 1 GROUP BY source_id HAVING count(*) > 1)
