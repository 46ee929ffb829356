"""The way of coding agents to their models: metered, capped, and with the user's keys outside of the sandbox."""
