"""Tasks that run a command of the user's own repository."""
