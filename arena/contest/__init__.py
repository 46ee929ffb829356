"""The contest host: one folder that is a study, a database of who entered what, and pages."""
