-- The matches after the search, which tests and nothing else may use: confirmations, and matches on held-out tasks.
after_search() AS TABLE
SELECT match_id, task FROM matches WHERE stream IN ('confirmation', 'reserve') AND purpose IS DISTINCT FROM 'night'
