-- The standings that a study's claim rests on come first: its confirmation, else its last match that ended.
SELECT s.*
FROM standings AS s JOIN matches AS m USING (match_id)
WHERE m.state <> 'running' AND s.gain IS NOT NULL
ORDER BY m.purpose = 'confirmation' DESC, m.started_at DESC, s.match_id, s.role = 'champion' DESC, s.gain DESC, s.arm_id
