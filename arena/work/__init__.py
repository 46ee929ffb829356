"""Carrying out runs: jobs, the worker, executors and the clock."""
