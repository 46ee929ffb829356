"""The page of one entry: standing, runs, the best run with what it tried and kept, the text."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from difflib import unified_diff
from functools import lru_cache
from itertools import pairwise

from fastapi import APIRouter, Request, Response

from arena.contest.ranking import views
from arena.contest.ranking.history import EntryRun, ShownExperiment
from arena.contest.running.arms import BOARD, CONFIRMATION, SCREENING
from arena.contest.tables import ContestEntry
from arena.contest.web.host import Host
from arena.contest.web.pages import MARKDOWN, show
from arena.serving.limits import Chosen, EntryId
from programs.program import Program
from programs.shelf import starter

MOST_PAIRED = 250_000  # product of the numbers of lines of two texts: each line is compared with each
MOST_LINES = 40  # of the text that are not folded
RUN = ("run_id", "purpose")  # columns of the experiments, those of their run
TITLES = {"contest": "run {}", "confirmation": "confirming run {}", "screening": "screening run"}  # by purpose


def entry_routes(host: Host) -> APIRouter:
    """An entry's page and its text."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/entry/{entry_id}")
    def entry(entry_id: EntryId, request: Request, again: Chosen = "") -> Response:
        """``again``: its text has just been sent again."""
        match = views.entry_of(host.contest, entry_id)
        viewer, admin = host.viewer(request), host.is_admin(request)
        seen = views.entry_view(host.contest, match, viewer, admin)
        best, text = best_run(host, match, seen), text_shown(seen["text"])
        return show(host, request, "entry", entry=seen, again=bool(again), best=best, text=text)

    @routes.get("/entry/{entry_id}/program.md")
    def text(entry_id: EntryId, request: Request) -> Response:
        match = host.readable(request, entry_id)
        headers = {"content-disposition": f'attachment; filename="{match.entry_id}.md"'}
        return Response(match.raw, media_type=MARKDOWN, headers=headers)

    @routes.get(
        "/entry/{entry_id}/experiments.json",
        summary="The experiments of an entry, with their diffs",
        include_in_schema=True,
        response_class=Response,
    )
    def experiments(entry_id: EntryId, request: Request) -> Response:
        match = host.readable(request, entry_id)
        rows = [
            {**{key: run[key] for key in RUN}, "entry_id": entry_id, **experiment}  # type: ignore[literal-required]
            for run in runs_of(host, match)
            for experiment in run["experiments"]
        ]
        return Response(json.dumps(rows), media_type="application/json")

    return routes


def runs_of(host: Host, entry: ContestEntry) -> list[EntryRun]:
    """Those that may be shown, the race's first, once it has decided."""
    labels = [CONFIRMATION] if host.contest.phase() == "decided" else []
    return host.contest.history.ended_runs(entry.entry_id, [*labels, BOARD, SCREENING])


@dataclass(frozen=True)
class BestRun:
    """``kept``: its untouched script and what it kept, each with how much better it scored than the one before;
    ``ideas``: of the program, and ``kept_ideas``: those of them that a change which it kept follows."""

    title: str
    run: EntryRun
    kept: list[tuple[ShownExperiment, float | None]]
    ideas: int
    kept_ideas: int


def best_run(host: Host, entry: ContestEntry, seen: views.EntryView) -> BestRun | None:
    """The run with the highest verified gain, of those that decided, else of the board; before one is measured the
    screening run. None if the entry is hidden, or nothing has run."""
    if seen["hidden"]:
        return None
    runs = runs_of(host, entry)
    if not runs:
        return None
    first = next((run for run in runs if run["gain"] is not None), runs[0])["purpose"]
    of_purpose = [run for run in runs if run["purpose"] == first]
    run = max(of_purpose, key=lambda run: -math.inf if run["gain"] is None else run["gain"])
    kept = kept_by(run, host.task.direction)
    ideas = {idea.directive_id for idea in Program.parse(entry.raw, entry.name).ideas}
    kept_ideas = ideas & {directive_id for row, _ in kept[1:] for directive_id in row["directive_ids"]}
    return BestRun(TITLES[first].format(run["run"]), run, kept, len(ideas), len(kept_ideas))


def kept_by(run: EntryRun, direction: str) -> list[tuple[ShownExperiment, float | None]]:
    sign = 1.0 if direction == "higher" else -1.0
    rows = [row for row in run["experiments"] if row["decision"] in ("baseline", "keep") and row["metric"] is not None]
    better = [sign * ((row["metric"] or 0.0) - (before["metric"] or 0.0)) for before, row in pairwise(rows)]
    return list(zip(rows, [None, *better], strict=True)) if rows else []


@dataclass(frozen=True)
class TextShown:
    """The text, and its ``difference`` from stock, None where it is too long to compare. The page folds the ``rest`` of
    a long text, with so many lines."""

    difference: str | None
    first: str
    rest: str
    rest_lines: int


def text_shown(text: str | None) -> TextShown | None:
    """The text for the page, if it may be read."""
    return None if text is None else TextShown(difference(starter("stock").text, text), *folded(text))


@lru_cache(maxsize=512)
def difference(before: str, text: str) -> str | None:
    """A unified diff; None for texts too long to compare."""
    lines, others = text.splitlines(), before.splitlines()
    if len(lines) * len(others) > MOST_PAIRED:
        return None
    return "\n".join([*unified_diff(others, lines, lineterm="")][2:])


def folded(text: str) -> tuple[str, str, int]:
    """The lines that are shown at once, the others, and how many these are. A short rest is shown, too."""
    lines = text.rstrip("\n").split("\n")
    rest = len(lines) - MOST_LINES
    most = MOST_LINES if rest >= MOST_LINES / 4 else len(lines)
    return "\n".join(lines[:most]), "\n".join(lines[most:]), len(lines) - most
