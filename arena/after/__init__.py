"""Measurements of what a match left."""
