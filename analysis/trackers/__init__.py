"""Writes a study into the tools that teams keep their results in, once, as it is now."""
