"""A study on disk: its folder, settings, tasks, lock and archive."""
