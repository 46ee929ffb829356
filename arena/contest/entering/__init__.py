"""Who takes part, and what they hand in: accounts, names, entries, and what the host declares of them."""
