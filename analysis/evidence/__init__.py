"""The evidence that writers of programs read, people and models alike."""
