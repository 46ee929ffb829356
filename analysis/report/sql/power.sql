-- What each match can tell apart, oldest first: docs/views.md says how the view `power` comes about.
SELECT p.* FROM power AS p JOIN matches AS m USING (match_id) ORDER BY m.started_at, p.match_id
