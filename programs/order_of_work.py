"""For readers: where experiments come from, as an order of work in the place of the shares of a charter.

A share (in 95% of cases) is nothing that an agent can follow; counts are. The front matter keeps the shares.
"""

from __future__ import annotations

from programs.charter_edit import charter_fields, settings_of
from programs.charter_phrases import described, say
from programs.stated_settings import without_shares

_QUEUE = "queue"
_AT_ONCE = ("the score, and test the next one.", "the score.")  # of the starter idea-queue; with doubt, not at once


def with_order(text: str) -> str:
    """The text (of `with_prose`) with one rule for the order of experiments in the place of all that it says about the
    shares of its list of ideas. Unchanged for a program without such a list, or with phases."""
    charter, given = settings_of(text).charter, charter_fields(text)
    if _QUEUE not in charter.proposers or "proposers" not in given or charter.phases:
        return text
    shares = say("proposers", given["proposers"], charter)
    rule = order(charter.proposers, charter.doubt_ideas)
    doubt = say("doubt_ideas", charter.doubt_ideas, charter)
    text = text.replace(*_AT_ONCE) if charter.doubt_ideas else text
    text = text.replace(f"- {shares}\n", "") if rule in text else text.replace(shares, rule)
    return without_shares(text.replace(f"- {doubt}\n", ""))


def order(shares: dict[str, float], doubt: bool) -> str:
    """The rule for a mixture with a list of ideas. ``doubt``: each idea that fails puts the next one off."""
    others = [described(name) for name in shares if name != _QUEUE]
    listed = "Take the ideas of the list in its order, one in each experiment"
    if not others and not doubt:
        return f"{listed}."
    kind = (" or ".join(others) or described("random")) + ", in turn" * (len(others) > 1)
    share = shares[_QUEUE] / sum(shares.values())
    between = round((1 - share) / share)
    if doubt and between:
        when = f"make {between} of them after an idea that you keep, {between + 1} after one that you revert"
    elif doubt:
        when = "make one of them after each idea that you revert, and none after one that you keep"
    elif share > 0.6:
        when = f"make one of them after every {round(share / (1 - share))} ideas"
    else:
        when = f"make {between} of them after each idea"
    return f"{listed}. The other experiments try {kind}: {when}. When no idea is left, make only these."
