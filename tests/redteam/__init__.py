"""The red team: every exploit of the catalogue in catalogue.md, tried against real runs."""
