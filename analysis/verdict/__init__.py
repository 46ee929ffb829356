"""The verdict of a study: one object, shown on every screen by one template."""
