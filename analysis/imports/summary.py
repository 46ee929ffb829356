"""Totals of an import over all its runs; every figure is a sum over rows of the view `imports`."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from analysis.imports.study import Imported

HIDDEN = ("kind", "digest", "noise")


def summary(done: Imported) -> dict[str, Any]:
    """Totals of an import. Gains are in metric units if all runs have one metric, else None; shares are of runs."""
    logs, runs = done.logs, [log for log in done.logs if log["state"] == "imported"]
    states = Counter(log["state"] for log in {log["path"]: log for log in logs}.values())
    kept, tried = _sum(runs, "kept"), _sum(runs, "tried")
    return {
        "study": str(done.folder),
        "study_id": done.study_id,
        "logs": sum(states.values()),
        **{f"{state}_logs": states[state] for state in ("imported", "duplicate", "refused", "unsure", "empty")},
        "runs": len(runs),
        "programs": done.programs,
        "rows": _sum(logs, "rows") + _sum(logs, "merged_rows"),
        "quarantined": _sum(logs, "quarantined"),
        "tried": tried,
        "kept": kept,
        "discarded": _sum(runs, "discarded"),
        "failed": _sum(runs, "failed"),
        "keep_rate": kept / tried if tried else None,
        "keep_rate_by_quarter": _quarters(runs),
        "metrics": _metrics(runs),
        "noise": _noise(runs),
        "contradictions": dict(sum((Counter(run["contradictions"]) for run in runs), Counter())),
        "categories": categories(runs),
        "commits_joined": _sum(runs, "commits_joined"),
        "trust": "self-reported",
    }


def one_metric(runs: Sequence[dict[str, Any]]) -> bool:
    """Whether the gains of these runs are in one unit."""
    return len({(run["metric"], run["direction"]) for run in runs}) == 1


def categories(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Categories over all runs, the one with the largest share of the kept gain first."""
    totals: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    gaining = 0
    for run in runs:
        total = sum(item["gain"] for item in run["categories"])
        gaining += total > 0.0
        for item in run["categories"]:
            entry = totals[item["category"]]
            for key in ("tried", "kept", "failed", "gain"):
                entry[key] += item[key]
            entry["share"] += item["gain"] / total if total > 0.0 else 0.0
    rows = [
        {
            "category": name,
            **{key: int(entry[key]) for key in ("tried", "kept", "failed")},
            "keep_rate": entry["kept"] / entry["tried"],
            "gain": entry["gain"] if one_metric(runs) else None,
            "share_of_gain": entry["share"] / gaining if gaining else None,
        }
        for name, entry in totals.items()
    ]
    return sorted(rows, key=lambda r: (-(r["share_of_gain"] or 0.0), -r["kept"], -r["tried"], r["category"]))


def listed(done: Imported) -> list[dict[str, Any]]:
    """The rows of `imports` for JSON output."""
    return [{key: value for key, value in log.items() if key not in HIDDEN} for log in done.logs]


def _quarters(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Counts of tried and kept rows by quarter, over all runs."""
    out = []
    for parts in zip(*(run["parts"] for run in runs), strict=True):
        tried, kept = sum(p["tried"] for p in parts), sum(p["kept"] for p in parts)
        gain = sum(p["gain"] for p in parts) if one_metric(runs) else None
        out.append({"tried": tried, "kept": kept, "keep_rate": kept / tried if tried else None, "gain": gain})
    return out


def _metrics(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str | None, str], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        groups[run["metric"], run["direction"]].append(run)
    rows = []
    for (metric, way), some in groups.items():
        gains = [run["claimed_gain"] for run in some if run["claimed_gain"] is not None]
        again = [run["rerun_gain"] for run in some if run["rerun_gain"] is not None]
        row = {"metric": metric, "direction": way, "runs": len(some), "claimed_gain_median": _median(gains)}
        rows.append(row | {"claimed_gain_best": max(gains, default=None), "rerun_gain_median": _median(again)})
    return sorted(rows, key=lambda r: (-r["runs"], r["metric"] or ""))


def _noise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Kept steps that noise explains, if it is known, and the number a loop without any effect would keep."""
    known = [run for run in runs if run["noise_sd"] is not None]
    shares = [run["noise_share"] for run in known if run["noise_share"] is not None]
    return {
        "runs_known": len(known),
        "runs_unknown": len(runs) - len(known),
        "kept_where_known": _sum(known, "kept"),
        "kept_steps_explained": _sum(known, "noise_steps") if known else None,
        "share_of_gain_median": _median(shares),
        "kept": _sum(runs, "kept"),
        "kept_by_chance": sum(run["chance_keeps"] for run in runs),
    }


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _sum(rows: Sequence[dict[str, Any]], key: str) -> int:
    return sum(row.get(key) or 0 for row in rows)
