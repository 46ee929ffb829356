"""Commands that show a study."""
