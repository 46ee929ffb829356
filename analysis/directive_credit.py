"""What the experiments that cite a directive earned per device-second, and whether programs' runs followed it.

Observational: which experiments cite a directive is the researcher's choice. An experiment that cites several
directives counts in full for each of them, so the rows do not add up to the whole.
"""

from __future__ import annotations

from typing import Any

from analysis.credit import DirectiveCredit, NeverFollowed
from analysis.scope import Scope
from analysis.statistics import bh, clustered_ratio, interval, t_test
from programs.ids import content_id


def directive_credits(scope: Scope) -> tuple[list[DirectiveCredit], list[NeverFollowed]]:
    """(credit of the directives that were followed, best first; those that never were, in order of the programs)."""
    held = {r["directive_id"]: r for r in scope.rows("directive_held")}
    used = {r["directive_id"]: r for r in scope.rows("directive_use")}
    rates = {d: clustered_ratio(u["gains"], u["seconds"]) for d, u in used.items()}
    qs = dict(zip(rates, bh([t_test(*rates[d], len(used[d]["gains"]) - 1) for d in rates]), strict=True))
    credits = [_credit(scope, d, used[d], *rates[d], qs[d], held.get(d, {})) for d in rates]
    never = [
        NeverFollowed(d, h["text"], h["heading"], h["kind"], tuple(h["program_ids"]), h["runs"])
        for d, h in held.items()
        if d not in used
    ]
    return sorted(credits, key=lambda c: (-c.estimate, c.directive_id)), never


def _credit(
    scope: Scope, directive_id: str, used: dict[str, Any], rate: float, se: float | None, q: float | None,
    held: dict[str, Any],
) -> DirectiveCredit:  # fmt: skip
    runs = len(used["gains"])
    low, high = interval(rate, se, runs - 1)
    return DirectiveCredit(
        credit_id=content_id("c", "directive", scope.task, directive_id),
        task=scope.task,
        estimate=rate,
        se=se,
        low=low,
        high=high,
        n=used["experiments"],
        q=q,
        design="observational",
        unit=f"{scope.unit} per device-second",
        directive_id=directive_id,
        text=held.get("text") or directive_id,
        heading=held.get("heading") or "",
        kind=held.get("kind") or "",
        program_ids=tuple(held.get("program_ids") or ()),
        kept_gain=sum(used["gains"]),
        device_seconds=sum(used["seconds"]),
        failures=used["failures"],
        runs_held=held.get("runs") or runs,
        runs_followed=runs,
    )
