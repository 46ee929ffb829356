"""The card of a decided contest, a picture to share: the winner or the tied group, drawn as a study's card."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from analysis.report.card import CardText, drawn_card
from analysis.report.picture import browser, draw
from analysis.statistics import interval, mean_together
from analysis.wording import listed, many
from arena.contest.acts import since
from arena.contest.announced import runs_taken, sentences
from arena.contest.contest import Contest
from arena.contest.race import ALPHA
from arena.contest.stored import Announcement, MeasuredRow, arm_label, entry_label
from arena.contest.units import unit_sentence
from programs.errors import EnvironmentProblem

MOST_REASON = 48  # characters
WAIT_SECONDS = 10.0  # for another request that draws
_drawing = Lock()


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
    first = sentences(said)[0]
    acts = [entry_label(act["entrant"], act["name"]) for act in since(contest, said)]
    void = [f"Since the decision the host has declared {name} void." for name in acts]
    reason, early = contest.state().get("early", ""), "Closed early by the host"
    why = reason.rstrip(". ")
    how = f"{early}: {why}." if why and len(why) <= MOST_REASON else f"{early}."
    words = CardText(
        f"Metaloop contest · {contest.task.name} · {contest.config.title} · decided {said['decided_at'][:10]}",
        headline(said),
        [first, *void, *[how] * bool(reason)],
        [unit_sentence(contest.task), *runs_taken(said)],
    )
    won = {who["number"] for who in winners}
    rows = [row for row in said["rows"] if row["role"] == "program"]
    arms = [stock_of(said), *(Finalist.of(row, arm_label(row), row["number"] in won) for row in rows)]
    arms.sort(key=lambda arm: -arm.gain)
    return drawn_card(words, arms, said["unit"], always=[arm for arm in arms if arm.role != "entry"])


def headline(said: Announcement) -> str:
    """The headline of the card: a tied group is named as one, with all that it has room for."""
    names = [entry_label(who["entrant"], who["name"]) for who in said["winners"]]
    return f"Win shared by {many(len(names), 'entry')}: {listed(names)}" if len(names) > 1 else said["headline"]


def can_draw() -> bool:
    """Whether this machine has a browser to make a PNG of the card, which previews of links show."""
    return browser() is not None


def as_png(svg: str) -> bytes | None:
    """The card as PNG, drawn once; None where it cannot be drawn, or another request draws it just now."""
    if not _drawing.acquire(timeout=WAIT_SECONDS):
        return None
    try:
        return _png(svg)
    finally:
        _drawing.release()


@lru_cache(maxsize=4)
def _png(svg: str) -> bytes | None:
    with TemporaryDirectory(prefix="metaloop-card-") as folder:
        try:
            draw(svg, Path(folder) / "card.png")
        except EnvironmentProblem:
            return None
        return (Path(folder) / "card.png").read_bytes()


def stock_of(said: Announcement) -> Finalist:
    """Stock's two arms as one sample, as the announcement counts them."""
    arms = [row for row in said["rows"] if row["role"] != "program"]
    one = mean_together((row["gain"], row["se"], row["n"]) for row in arms)
    low, high = None, None
    if one.mean is not None and one.se is not None:
        low, high = interval(one.mean, one.se, one.n - 1, ALPHA / 2 / len(said["race"]["looks"]))
    return Finalist("stock, both arms", "control", said["gain"] - said["over_stock"], low, high)
