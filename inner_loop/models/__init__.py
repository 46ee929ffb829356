"""Language models: one contract and one client for both loops. LiteLLM is imported at the first call."""
