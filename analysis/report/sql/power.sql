-- The statistical power of each match, oldest first; see the view `power` in docs/views.md.
SELECT p.* FROM power AS p JOIN matches AS m USING (match_id) ORDER BY m.started_at, p.match_id
