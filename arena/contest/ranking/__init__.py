"""Who is better: board, race of the leaders, decision, and the data of the pages."""
