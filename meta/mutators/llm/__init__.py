"""Mutators that call a language model. The prompts are ``meta/prompts/*.j2``; replies are data, strictly parsed."""
