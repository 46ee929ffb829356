"""The page of one entry: standing, runs with curves and experiments, the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import select

from analysis.wording import decimals, number, typical
from arena.contest import views
from arena.contest.courses import CONFIRMATION, CONTEST, SCREENING, EntryRun, courses_of
from arena.contest.stored import ExperimentColumns
from arena.contest.tables import ContestEntry, EntryParent, Person
from arena.contest.view_types import EntryView
from arena.contest.web.best_run import BestRun, TitledRun, best_run
from arena.contest.web.changes import BaseText, Change, between
from arena.contest.web.curve import Curve, curve
from arena.contest.web.host import Host
from arena.contest.web.limits import Chosen, EntryId
from arena.contest.web.pages import MARKDOWN, show
from programs.file_set import is_document
from programs.front_matter import locate
from programs.program import Program

MOST_CURVES, MOST_EXPERIMENTS, MOST_LINES = 12, 40, 40  # on one page; lines of the text that are not folded
TITLES = {CONTEST: "Run {}", CONFIRMATION: "Confirming run {}", SCREENING: "Screening run"}
From = Annotated[int, Query(alias="from", ge=0, le=1_000_000)]


@dataclass(frozen=True)
class EntrySelection:
    """What the request selects: the run whose experiments are listed, the first of them, the entry to compare with.
    ``again``: its text has just been sent again."""

    run: str = ""
    against: str = ""
    start: int = 0
    again: bool = False


def entry_routes(host: Host) -> APIRouter:
    """An entry's page and its text."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/entry/{entry_id}")
    def entry(
        entry_id: EntryId, request: Request, run: Chosen = "", against: Chosen = "", start: From = 0, again: Chosen = ""
    ) -> Response:
        return entry_page(host, request, entry_id, EntrySelection(run, against, start, bool(again)))

    @routes.get("/entry/{entry_id}/program.md")
    def text(entry_id: EntryId, request: Request) -> Response:
        match = host.readable(request, entry_id)
        headers = {"content-disposition": f'attachment; filename="{match.entry_id}.md"'}
        return Response(match.raw, media_type=MARKDOWN, headers=headers)

    return routes


def entry_page(host: Host, request: Request, entry_id: str, selection: EntrySelection) -> Response:
    """The page of an entry. Raises NotFound."""
    match = views.entry_of(host.contest, entry_id)
    viewer, admin = host.viewer(request), host.is_admin(request)
    seen = views.entry_view(host.contest, match, viewer, admin)
    runs = runs_shown(host, match, seen, selection)
    return show(
        host,
        request,
        "entry",
        entry=seen,
        again=selection.again,
        opened={"run": selection.run or selection.start, "against": selection.against},
        runs=runs,
        text=text_shown(host, match, seen, selection.against, viewer, admin),
    )


@dataclass(frozen=True)
class RunsShown:
    """The runs on the page: the best, those with a curve, the titles of the others, experiments of one run (the best,
    unless another is requested). ``gains``: a sentence with those of the runs that decided; ``changes``: of the
    experiments, by number, how much better each scored than the one whose script it changed."""

    best: BestRun | None
    gains: str
    all: list[TitledRun]
    curves: list[tuple[TitledRun, Curve]]
    chosen: TitledRun
    start: int
    undrawn: list[str]
    experiments: list[ExperimentColumns]
    step: int
    changes: dict[int, float]

    def summary(self, run: TitledRun) -> str:
        """The course of a run in words, where no curve is drawn."""
        return curve(run).caption


def runs_shown(host: Host, entry: ContestEntry, seen: EntryView, selection: EntrySelection) -> RunsShown | None:
    """The curves, and the experiments of the requested run; None if the entry is hidden."""
    if seen["hidden"]:
        return None
    purposes = [CONTEST, SCREENING]
    if host.contest.phase() == "decided":
        purposes = [CONFIRMATION, *purposes]
    runs = named(courses_of(host.contest, entry.number, tuple(purposes)))
    if not runs:
        return None
    best = best_run(
        runs,
        Program.parse(seen["text"]).ideas if seen["text"] else (),
        scripted=host.contest.study.researcher == "scripted",
    )
    chosen = next((run for run in runs if run["run_id"] == selection.run), best.run if best else runs[0])
    start = first_shown(selection.start, len(chosen["experiments"]))
    shown = drawn(runs)
    return RunsShown(
        best,
        gains_in_the_race(runs, seen["digits"]),
        runs,
        [(run, curve(run)) for run in shown],
        chosen,
        start,
        [run["title"].lower() for run in runs if run not in shown],
        chosen["experiments"][start : start + MOST_EXPERIMENTS],
        MOST_EXPERIMENTS,
        changes(chosen),
    )


def changes(run: EntryRun) -> dict[int, float]:
    """By number of the experiment: how much better it scored than the one whose script it changed, where both were
    trained in full. One without a diff trained the same script again."""
    sign = 1.0 if run["direction"] == "higher" else -1.0
    whole = {row["number"]: row["metric"] for row in run["experiments"] if row["fraction"] == 1}
    pairs = [
        (row["number"], metric, before)
        for row in run["experiments"]
        if row["diff"]
        and (metric := whole.get(row["number"])) is not None
        and (parent := row.get("parent")) is not None
        and (before := whole.get(parent)) is not None
    ]
    return {number: sign * (metric - before) for number, metric, before in pairs}


def named(runs: Sequence[EntryRun]) -> list[TitledRun]:
    """Each run with a unique title."""
    return [{**run, "title": TITLES[run["purpose"]].format(run["run"])} for run in runs]


def drawn(runs: Sequence[TitledRun]) -> list[TitledRun]:
    """The runs to draw: the scored ones, confirming runs first; the screening run only if there is no other."""
    return [run for run in runs if run["purpose"] != SCREENING][:MOST_CURVES] or list(runs)


def gains_in_the_race(runs: Sequence[TitledRun], digits: int | None) -> str:
    """The gain of every run that decided, as a sentence; empty without any."""
    deciding = [run for run in runs if run["purpose"] == CONFIRMATION]
    if not deciding:
        return ""
    places = decimals(typical(run["gain"] for run in deciding)) if digits is None else digits
    gains = ", ".join(number(run["gain"], places) for run in deciding)
    return f"Gain of each run in the race, {deciding[0]['unit']}: {gains}."


def first_shown(at: int, length: int) -> int:
    """Start of the page that contains experiment ``at`` (from 0); 0 if there is no such experiment."""
    return at // MOST_EXPERIMENTS * MOST_EXPERIMENTS if at < length else 0


@dataclass(frozen=True)
class TextShown:
    """The text and its differences from ``base``, one of ``bases``. The page folds the ``rest`` of a long text, with so
    many lines; ``rendered``: what it renders as markdown."""

    bases: list[BaseText]
    base: BaseText
    changed: list[Change] | None
    rendered: str
    first: str
    rest: str
    rest_lines: int


def text_shown(
    host: Host, entry: ContestEntry, seen: EntryView, against: str, viewer: Person | None, admin: bool
) -> TextShown | None:
    """The text, and its differences from the parent, the most similar entry or stock."""
    text = seen["text"]
    if text is None:
        return None
    bases = bases_of(host, entry, viewer, admin)
    base = next((one for one in bases if one.key == against), bases[0])
    rendered = text if is_document(text) else without_front_matter(text)
    return TextShown(bases, base, between(base, text, entry.name), rendered, *folded(text))


def without_front_matter(text: str) -> str:
    """Its dashes would make a heading of it."""
    lines = text.split("\n")
    return "\n".join(lines[locate(lines).end :])


def folded(text: str) -> tuple[str, str, int]:
    """The lines that are shown at once, the others, and how many these are. A short rest is shown, too."""
    lines = text.rstrip("\n").split("\n")
    rest = len(lines) - MOST_LINES
    shown = MOST_LINES if rest >= MOST_LINES / 4 else len(lines)
    return "\n".join(lines[:shown]), "\n".join(lines[shown:]), len(lines) - shown


def bases_of(host: Host, entry: ContestEntry, viewer: Person | None, admin: bool) -> list[BaseText]:
    """The texts to compare with, the default first: the named parent, stock, the most similar earlier entry.

    Other entries are included only if the viewer may read them.
    """
    with host.contest.database.read() as connection:
        named_ = connection.scalar(select(EntryParent.parent).where(EntryParent.number == entry.number))
    alike = entry.alike[0]["number"] if entry.alike else None
    bases = [BaseText("stock", "stock", "")]
    for which, what in ((named_, "parent, {}"), (alike, "most similar earlier entry, {}")):
        if which is None or any(base.key == str(which) for base in bases):
            continue
        other = views.entry_numbered(host.contest, which)
        if other is not None and views.may_read(host.contest, other, viewer, admin):
            text, label = other.raw.decode("utf-8"), what.format(other.label)
            base = BaseText(str(which), label, text)
            bases = [base, *bases] if which == named_ else [*bases, base]
    return bases
