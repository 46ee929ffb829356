"""Logs of others: results.tsv files and repositories of autoresearch and its relatives, read into a study.

`study.import_logs` is the way in. Nothing is run, no model is asked, and what a log does not say is stored as NULL.
"""
