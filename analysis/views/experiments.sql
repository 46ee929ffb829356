-- One row per experiment of a run. The first valid result counts; of several decisions the last one holds.
-- gain: how much better than the run's own baseline experiment, as the researcher saw it (never ranks anything).
SELECT * EXCLUDE (place)
FROM placed
ORDER BY place
