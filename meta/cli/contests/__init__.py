"""Commands of contests and shared projects."""
