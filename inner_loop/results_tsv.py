"""results.tsv in the format of the original loop: commit, metric, memory_gb, status, description."""

from __future__ import annotations

from pathlib import Path

from inner_loop.events import Experiment
from programs.common.text import one_line

#: Failed experiments are `crash` and show the metric 0.000000; what was measured and not kept is `discard`, or
#: `undecided` where its difference is within its error.
_STATUS = {"baseline": "keep", "keep": "keep", "undecided": "undecided"}


class ResultsTable:
    """A row per decided experiment. Each opening starts the file again; a resumed run writes the same rows."""

    def __init__(self, folder: Path, metric: str) -> None:
        self.path = folder / "results.tsv"
        self.path.write_text(f"commit\t{metric}\tmemory_gb\tstatus\tdescription\n", encoding="utf-8")

    def add(self, record: Experiment, commit: str) -> None:
        """`commit`: the kept commit's hash; without one the source's id is written."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(row(record, commit) + "\n")


def row(record: Experiment, commit: str = "") -> str:
    """One line of the table; the commit in 7 characters, memory in GB (2**30 bytes)."""
    name = commit[:7] or record.source_id[1:8]
    status = _STATUS.get(record.decision, "discard") if record.ok else "crash"
    return "\t".join(
        [
            name,
            f"{record.metric or 0.0:.6f}",
            f"{record.peak_memory_mb / 1024:.1f}",
            status,
            one_line(_description(record)),
        ]
    )


def _description(record: Experiment) -> str:
    """The experiment's description; screens, replicates and confirmations are marked as such."""
    if record.decision not in ("screen", "replicate", "confirm"):
        return record.description
    part = "" if record.full else f" at {record.fraction:g} of the budget"
    return f"{record.description} ({record.decision}{part})"
