"""Imports results.tsv files and repositories of autoresearch and similar loops into a study.

`study.import_logs` is the entry point. It runs nothing and calls no model; values that a log lacks are NULL.
"""
