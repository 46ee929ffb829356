"""The card of a decided contest, a picture to share: the winner or the tied group, drawn as a study's card."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.report.card import CardText, drawn_card
from arena.contest.acts import since
from arena.contest.announced import sentences
from arena.contest.contest import Contest
from arena.contest.stored import MeasuredRow, arm_label


@dataclass(frozen=True)
class Finalist:
    """A row of the announcement, as the card shows it."""

    display_name: str
    role: str
    gain: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, row: MeasuredRow) -> Finalist:
        return cls(arm_label(row), row["role"], row["gain"], row["low"], row["high"])


def winners_card(contest: Contest) -> str | None:
    """The card as SVG; None before the decision, or where no entry has won."""
    said = contest.announcement()
    if not said.get("winners"):
        return None
    first, *others = sentences(said)
    void = [f"Since the decision the host has declared {act['entrant']}'s entry void." for act in since(contest, said)]
    tasks = ", ".join(task.name for task in contest.tasks)
    words = CardText(
        f"metaloop contest · {tasks} · {contest.config.title} · decided {said['decided_at'][:10]}",
        said["headline"],
        " ".join((*void, first)),
        " ".join(others),
    )
    return drawn_card(words, [Finalist.of(row) for row in said["rows"]], said["unit"])
