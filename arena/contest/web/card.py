"""The card of a decided contest, a picture to share: the winner or the tied group, drawn as a study's card."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.report.card import CardText, drawn_card
from arena.contest.acts import since
from arena.contest.announced import labels, sentences
from arena.contest.contest import Contest
from arena.contest.stored import MeasuredRow, arm_label


@dataclass(frozen=True)
class Finalist:
    """A row of the announcement, as the card shows it; winners are drawn as a study's champion."""

    display_name: str
    role: str
    gain: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, row: MeasuredRow, label: str, won: bool) -> Finalist:
        role = "champion" if won else "entry" if row["role"] == "program" else row["role"]
        return cls(label, role, row["gain"], row["low"], row["high"])


def winners_card(contest: Contest) -> str | None:
    """The card as SVG; None before the decision, or where no entry has won."""
    said = contest.announcement()
    winners = said.get("winners")
    if not winners:
        return None
    first, *others = sentences(said)
    void = [f"Since the decision the host has declared {act['entrant']}'s entry void." for act in since(contest, said)]
    tasks = ", ".join(task.name for task in contest.tasks)
    words = CardText(
        f"metaloop contest · {tasks} · {contest.config.title} · decided {said['decided_at'][:10]}",
        said["headline"],
        " ".join((*void, first)),
        " ".join(others[:1]),
    )
    names, won = labels([row for row in said["rows"] if row["role"] == "program"]), {who["number"] for who in winners}
    rows = [Finalist.of(row, names.get(row["number"], arm_label(row)), row["number"] in won) for row in said["rows"]]
    return drawn_card(words, rows, said["unit"])
