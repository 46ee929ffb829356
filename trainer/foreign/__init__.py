"""Reads somebody else's repository and says how it could be run as a task. Nothing of it is ever run or imported."""
