"""The card of a decided contest, a picture to share: the winner or the tied group, drawn as a study's card."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.report.card import MOST_ROWS, CardRow, drawn
from analysis.statistics import Estimate, mean_together
from analysis.wording import many
from arena.contest.contest import Contest
from arena.contest.entering.acts import since
from arena.contest.ranking.announced import sentences, spent
from arena.contest.ranking.race import ALPHA
from arena.contest.stored import Announcement, arm_label, entry_label
from programs.common.text import listed

STOCK = "stock, both arms"
MOST_REASON = 48  # characters


def winners_card(contest: Contest) -> str | None:
    """The card as SVG; None before the decision, or where no entry has won."""
    announced = contest.announcement()
    winners = announced.get("winners")
    if not winners:
        return None
    first = sentences(announced)[0]
    void_labels = [entry_label(act["entrant"], act["name"]) for act in since(contest, announced)]
    void = [f"Since the decision the host has declared {name} void." for name in void_labels]
    reason, early = contest.state().get("early", ""), "Closed early by the host"
    why = reason.rstrip(". ")
    how = f"{early}: {why}." if why and len(why) <= MOST_REASON else f"{early}."
    kicker = f"Metaloop contest · {contest.task.name} · {contest.config.title} · decided {announced['decided_at'][:10]}"
    lines = [first, *void, *[how] * bool(reason)]
    won = {who["number"] for who in winners}
    rows = [row for row in announced["rows"] if row["role"] == "program"]
    arms = [CardRow(arm_label(row), row["gain"], row["low"], row["high"], row["number"] in won) for row in rows]
    arms = sorted([*arms, stock_of(announced)], key=lambda arm: (not arm.ours, -arm.gain))
    arms_drawn = sorted(shown_of(arms), key=lambda arm: -arm.gain)
    foot, left = spent(announced), len(arms) - len(arms_drawn)
    return drawn(kicker, headline(announced), lines, arms_drawn, announced["unit"], foot, left)


def shown_of(arms: Sequence[CardRow]) -> list[CardRow]:
    """As many as a card has room for, stock among them; winners come first."""
    stock = [arm for arm in arms if arm.name == STOCK]
    return [*[arm for arm in arms if arm.name != STOCK][: MOST_ROWS - len(stock)], *stock]


def headline(said: Announcement) -> str:
    """The headline of the card: a tied group is named as one, with all that it has room for."""
    names = [entry_label(who["entrant"], who["name"]) for who in said["winners"]]
    return f"Win shared by {many(len(names), 'entry')}: {listed(names)}" if len(names) > 1 else said["headline"]


def stock_of(said: Announcement) -> CardRow:
    """Stock's two arms as one sample, as the announcement counts them."""
    arms = [row for row in said["rows"] if row["role"] != "program"]
    together = mean_together(Estimate(row["gain"], row["se"], n=row["n"]) for row in arms)
    low, high = together.interval(ALPHA / 2 / len(said["race"]["looks"]))
    return CardRow(STOCK, said["gain"] - said["over_stock"], low, high)
