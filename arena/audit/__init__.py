"""Verifying studies again, also those of others."""
