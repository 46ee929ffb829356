"""Part 8: the experiments, to sort and filter, with their diffs; of many, the kept ones and a sample of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.wording import brief, count, short

MOST = 6_000  # rows on the page
DIFFS = 900_000  # characters of diffs on the page; equal diffs count once
PLAIN = 60  # rows of the table without JavaScript


@dataclass(frozen=True)
class ExperimentCountRow:
    decision: str
    status: str
    n: int


@dataclass(frozen=True)
class ExperimentRow:
    experiment_id: str
    run_id: str
    number: int
    program: str | None
    decision: str | None
    status: str | None
    metric: float | None
    gain: float | None
    seconds: float | None
    description: str | None
    reason: str | None
    directive_ids: Sequence[str] | None
    diff: str | None


@dataclass(frozen=True)
class DirectiveTextRow:
    directive_id: str
    text: str


def section(facts: ReportFacts) -> ReportSection:
    counts = facts.source.ask("experiment_counts", ExperimentCountRow)
    total = sum(row.n for row in counts.rows)
    if not total:
        return ReportSection("experiments", "Every experiment", "The study has no experiments.")
    first = facts.champion_id or (facts.board[0].program_id if facts.board else None)
    shown = facts.source.ask("experiments", ExperimentRow, most=MOST, first=first)
    texts = facts.source.ask("directive_texts", DirectiveTextRow)
    data, cut = embedded(shown.rows, {row.directive_id: row.text for row in texts.rows})
    lead = f"All {count(total)} experiments, including discarded ones."
    if total > MOST:
        lead = (
            f"{count(len(shown.rows))} of {count(total)} experiments: kept ones, and an equally large sample of every "
            "other kind. So shares in this table differ from shares in the study; the counts below are complete."
        )
    more_cut = " Some diffs are left out to save space: see metaloop show ID." if cut else ""
    figure = ReportFigure(
        name="experiments-table",
        kind="experiments",
        title="Experiments",
        caption=f"{facts.measure}. Click a row for its diff and the directives that it cites. Gain is relative to the "
        f"run's own baseline, as the researcher measured it, so it includes luck.{more_cut}",
        data=data | {"unit": facts.unit, "metric": facts.metric, "whose": "log" if facts.logs.rows else "program"},
        table=plain(shown.rows),
        answers=(shown, counts, texts),
    )
    return ReportSection(
        "experiments",
        "Every experiment",
        lead,
        (figure,),
        template="experiments.html.j2",
        more={
            "counts": ReportTable.of(
                counts.rows,
                {
                    "decision": lambda row: row.decision,
                    "status": lambda row: row.status,
                    ">experiments": lambda row: count(row.n),
                },
            )
        },
    )


COLUMNS = [
    "id",
    "run",
    "number",
    "program",
    "decision",
    "status",
    "metric",
    "gain",
    "seconds",
    "what",
    "why",
    "cites",
    "diff",
]


def embedded(rows: Sequence[ExperimentRow], texts: Mapping[str, str]) -> tuple[dict[str, Sequence[object]], bool]:
    """The rows as lists, with repeated texts stored once; and whether a diff had to be left out."""
    words, diffs, cites = TextPool(), TextPool(DIFFS), TextPool()
    table = [
        [
            row.experiment_id,
            words.put(row.run_id),
            row.number,
            words.put(row.program),
            words.put(row.decision),
            words.put(row.status),
            rounded(row.metric),
            rounded(row.gain),
            rounded(row.seconds, 4),
            words.put(row.description),
            words.put(row.reason),
            [cites.put(texts.get(d, d)) for d in row.directive_ids or ()],
            diffs.put(body(row.diff)),
        ]
        for row in rows
    ]
    data: dict[str, Sequence[object]] = {
        "columns": COLUMNS,
        "rows": table,
        "words": words.texts,
        "cites": cites.texts,
        "diffs": diffs.texts,
    }
    return data, diffs.full


class TextPool:
    """Numbers texts and stores each once; -1 stands for no text and for texts beyond a total of ``most`` characters."""

    def __init__(self, most: int | None = None) -> None:
        self.texts: list[str] = []
        self.full = False
        self._most = most
        self._size = 0
        self._numbers: dict[str, int] = {}

    def put(self, text: str | None) -> int:
        if not text:
            return -1
        if text not in self._numbers:
            if self._most is not None and self._size + len(text) > self._most:
                self.full = True
                return -1
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
            self._size += len(text)
        return self._numbers[text]


def body(diff: str | None) -> str:
    """A diff without the two lines that name the file, if it is of a single file."""
    lines = (diff or "").splitlines()
    heads = sum(1 for line in lines if line.startswith("--- "))
    return "\n".join(lines[2:] if heads == 1 and len(lines) > 2 and lines[0].startswith("--- ") else lines)


def rounded(value: float | None, digits: int = 7) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def plain(rows: Sequence[ExperimentRow]) -> ReportTable:
    """The kept experiments with the largest gains, for readers without JavaScript."""
    kept = [row for row in rows if row.decision == "keep" and row.gain is not None]
    best = sorted(kept, key=lambda row: -(row.gain or 0.0))[:PLAIN]
    return ReportTable.of(
        best,
        {
            "id": lambda row: short(row.experiment_id),
            "program": lambda row: row.program or "",
            "run": lambda row: short(row.run_id),
            ">number": lambda row: count(row.number),
            "decision": lambda row: row.decision or "",
            ">metric": lambda row: brief(row.metric, 5),
            ">gain": lambda row: brief(row.gain),
            "what was tried": lambda row: row.description or "",
        },
    )
