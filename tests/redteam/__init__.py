"""The red team: every exploit of the catalogue in docs/threat-model.md, tried against real runs."""
