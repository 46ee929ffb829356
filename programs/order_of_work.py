"""For readers: where experiments come from, as an order of work in the place of the shares of a charter.

A share (in 95% of cases) is nothing that an agent can follow; counts are. The front matter keeps the shares.
"""

from __future__ import annotations

from math import gcd

from programs.charter_edit import charter_fields, settings_of
from programs.charter_phrases import described, say
from programs.stated_settings import without_shares

_QUEUE = "queue"
_NEVER = 1e-4  # the share of a source that no study is long enough to use
_MOST = 20  # parts in which the other sources are counted, for the largest
_AT_ONCE = ("the score, and test the next one.", "the score.")  # of the starter idea-queue; with doubt, not at once


def with_order(text: str) -> str:
    """The text (of `with_prose`) with one rule for the order of experiments in the place of all that it says about the
    shares of its list of ideas. Unchanged for a program without such a list, or with phases."""
    charter, given = settings_of(text).charter, charter_fields(text)
    if _QUEUE not in charter.proposers or "proposers" not in given or charter.phases:
        return text
    shares = say("proposers", given["proposers"], charter)
    if charter.proposers[_QUEUE] < _NEVER * sum(charter.proposers.values()):
        return text
    rule = order(charter.proposers, charter.doubt_ideas)
    doubt = say("doubt_ideas", charter.doubt_ideas, charter)
    text = text.replace(*_AT_ONCE) if charter.doubt_ideas else text
    text = text.replace(f"- {shares}\n", "") if rule in text else text.replace(shares, rule)
    return without_shares(text.replace(f"- {doubt}\n", ""))


def order(shares: dict[str, float], doubt: bool) -> str:
    """The rule for a mixture with a list of ideas. ``doubt``: each idea that fails puts the next one off."""
    whole = sum(shares.values())
    others = {name: one for name, one in shares.items() if name != _QUEUE and one > _NEVER * whole}
    listed = "Take the ideas of the list in its order, one in each experiment"
    if not others and not doubt:
        return f"{listed}."
    kind = _mixed(others) or described("random")
    share = shares[_QUEUE] / sum((shares[_QUEUE], *others.values()))
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


def _mixed(shares: dict[str, float]) -> str:
    """``A or B, in turn``; ``A (one of 7) or B (6 of 7)`` where the shares differ; empty without any."""
    if len(shares) < 2:
        return "".join(map(described, shares))
    least, most = min(shares.values()), max(shares.values())
    unit = max(least, most / _MOST)
    parts = {name: max(1, round(share / unit)) for name, share in shares.items()}
    common = gcd(*parts.values())
    if len(set(parts.values())) == 1:
        return f"{' or '.join(map(described, shares))}, in turn"
    whole = sum(parts.values()) // common
    counted = ((name, part // common) for name, part in parts.items())
    return " or ".join(f"{described(name)} ({'one' if n == 1 else n} of {whole})" for name, n in counted)
