"""Coding agents as researchers: their sandbox, their worktree, and the door at which they ask for experiments."""
