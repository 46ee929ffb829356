"""Language models: one contract, one client, for both loops. LiteLLM is imported when a call is made, not before."""
