"""Studies: their plan, cost, creation, live state and what a person asks of them."""
