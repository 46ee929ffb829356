"""Coding agents as researchers: their sandbox, their worktree, and the server for their experiment requests."""
