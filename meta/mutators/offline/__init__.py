"""Operators that need no model: one per file."""
