"""The ledger and its views, statistics, attribution and evidence. In a notebook: ``analysis.open_study(path)``."""

from analysis.study import open_study, query

__all__ = ["open_study", "query"]
