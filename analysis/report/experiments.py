"""Part 8: the experiments, to sort and filter, with the diff of each; of many, the kept ones and a fair sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.report.model import Facts, Figure, Section, Table
from analysis.wording import brief, count, short

MOST = 6_000  # rows on the page
DIFFS = 900_000  # characters of diffs on the page; equal diffs count once
PLAIN = 60  # rows for those without JavaScript


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


def section(facts: Facts) -> Section:
    counts = facts.source.ask("experiment_counts", ExperimentCountRow)
    total = sum(row.n for row in counts.rows)
    if not total:
        return Section("experiments", "Every experiment", "No experiment is on record.")
    first = facts.champion_id or (facts.board[0].program_id if facts.board else None)
    found = facts.source.ask("experiments", ExperimentRow, most=MOST, first=first)
    texts = facts.source.ask("directive_texts", DirectiveTextRow)
    data, cut = embedded(found.rows, {row.directive_id: row.text for row in texts.rows})
    lead = f"All {count(total)} experiments, the discarded ones too."
    if total > MOST:
        lead = (
            f"{count(len(found.rows))} of {count(total)}: kept ones, and of every other kind an equal share, drawn by "
            "the hash of the experiment's id. Shares in this table are not shares in the study; the counts below are."
        )
    more_cut = " Some diffs are left out for size: metaloop show ID has them." if cut else ""
    figure = Figure(
        name="experiments-table",
        kind="experiments",
        title="Experiments",
        caption=f"{facts.measure}. Choose a row for its diff and for what it rests on. Gain is over the run's own "
        f"baseline, as the researcher saw it, so luck is in it.{more_cut}",
        data=data | {"unit": facts.unit, "metric": facts.metric, "whose": "log" if facts.logs.rows else "program"},
        table=plain(found.rows),
        answers=(found, counts, texts),
    )
    return Section(
        "experiments",
        "Every experiment",
        lead,
        (figure,),
        template="experiments.html.j2",
        more={
            "counts": Table.of(
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
    """The rows as lists, with texts that repeat kept once; and whether a diff had to be left out."""
    words, diffs, cites = Pool(), Pool(DIFFS), Pool()
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


class Pool:
    """Texts by number, each once; -1 for no text, and for what goes beyond ``most`` characters together."""

    def __init__(self, most: int | None = None) -> None:
        self.texts: list[str] = []
        self.full = False
        self._most = most
        self._size = 0
        self._places: dict[str, int] = {}

    def put(self, text: str | None) -> int:
        if not text:
            return -1
        if text not in self._places:
            if self._most is not None and self._size + len(text) > self._most:
                self.full = True
                return -1
            self._places[text] = len(self.texts)
            self.texts.append(text)
            self._size += len(text)
        return self._places[text]


def body(diff: str | None) -> str:
    """A diff without the two lines that name the file, where it is of one file."""
    lines = (diff or "").splitlines()
    heads = sum(1 for line in lines if line.startswith("--- "))
    return "\n".join(lines[2:] if heads == 1 and len(lines) > 2 and lines[0].startswith("--- ") else lines)


def rounded(value: float | None, digits: int = 7) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def plain(rows: Sequence[ExperimentRow]) -> Table:
    """The kept ones with the largest gain: what is there without JavaScript."""
    kept = [row for row in rows if row.decision == "keep" and row.gain is not None]
    best = sorted(kept, key=lambda row: -(row.gain or 0.0))[:PLAIN]
    return Table.of(
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
