"""Reads a third-party repository and derives a task that runs it. Nothing in it is ever run or imported."""
