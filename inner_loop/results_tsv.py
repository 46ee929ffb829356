"""results.tsv in the format of the original loop: commit, metric, memory_gb, status, description."""

from __future__ import annotations

from inner_loop.events import Experiment
from programs.common.text import one_line

#: Failed experiments are `crash` and show the metric 0.000000; what was measured and not kept is `discard`, or
#: `undecided` where its difference is within its error.
_STATUS = {"baseline": "keep", "keep": "keep", "undecided": "undecided"}


def header(metric: str) -> str:
    return f"commit\t{metric}\tmemory_gb\tstatus\tdescription\n"


def row(record: Experiment, commit: str = "") -> str:
    """One line of the table; the commit in 7 characters, memory in GB (2**30 bytes)."""
    status = _STATUS.get(record.decision, "discard") if record.ok else "crash"
    figures = f"{record.metric or 0.0:.6f}\t{record.peak_memory_mb / 1024:.1f}"
    return f"{commit[:7] or record.source_id[1:8]}\t{figures}\t{status}\t{one_line(_description(record))}\n"


def _description(record: Experiment) -> str:
    """The experiment's description; screens, replicates and confirmations are marked as such."""
    if record.decision not in ("screen", "replicate", "confirm"):
        return record.description
    part = "" if record.full else f" at {record.fraction:g} of the budget"
    return f"{record.description} ({record.decision}{part})"
