"""How a candidate is scored: one kind per file, as `[score] kind` of a task names it."""
