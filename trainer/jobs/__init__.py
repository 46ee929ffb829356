"""One job (a command, a data.py, an agent, a fork of the warm template) and the ways to run it."""
