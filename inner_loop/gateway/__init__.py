"""The gateway between coding agents and their models: calls are metered and capped, and the user's keys stay outside
the sandbox."""
