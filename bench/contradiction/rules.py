"""Which statements contradict each other: unequal values of one quantity, and pairs that cannot both hold."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from bench.contradiction.statements import Statement
from meta.claim import LEVEL

COUNTS = ("n", "reference's n", "runs needed")
By = Mapping[tuple[str, str], str]
# Of a screen of a study with a champion: what it has to state at the least, or it was not read.
LEAST = {
    "report": ("verdict", "p", "difference", "n", "label"), "card": ("verdict", "p", "difference"),
    "evidence": ("verdict", "p", "difference", "low"), "end": ("verdict", "p"), "end, piped": ("verdict", "p"),
    "json": ("verdict", "p", "difference", "n", "holds"), "standings": ("verdict", "p"), "window": ("verdict", "holds"),
    "list": ("verdict", "p"),
}  # fmt: skip


def number(text: str) -> tuple[float, float]:
    """A value and half a unit of its last digit; ``< x`` is from 0 to x."""
    below = text.startswith("<")
    digits = text.lstrip("=<").replace("at least", "").replace(",", "").strip()
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    value, off = float(digits), 0.5 * 10.0 ** (int(exponent or 0) - decimals)
    return (value / 2, value / 2) if below else (value, off)


def unequal(one: str, other: str, exact: bool) -> bool:
    if exact:
        return float(one) != float(other)
    try:
        (a, off), (b, off_other) = number(one), number(other)
    except ValueError:
        return one != other
    return abs(a - b) > (off + off_other) * 1.001 + 1e-9 * abs(a)


def differing(said: Sequence[Statement]) -> Iterator[str]:
    """One quantity with two values."""
    by: dict[tuple[str, str], list[Statement]] = defaultdict(list)
    for one in said:
        several = one.about == "without ideas" and one.what in ("gain", "low")  # also run on held-out tasks
        if one.about not in ("ranks", "match") and not one.about.startswith("terminal") and not several:
            by[one.about, one.what].append(one)
    for (about, what), all_of_it in by.items():
        first = all_of_it[0]
        other = next((one for one in all_of_it if unequal(first.value, one.value, what in COUNTS)), None)
        if other is not None:
            yield f"{about}, {what}: {first.value} ({first.screen}), {other.value} ({other.screen})"


def impossible(screen: str, by: By, ranks: Sequence[Statement]) -> Iterator[str]:
    """What one screen may not state together; ``by``: its statements by about and what."""

    def of(what: str, about: str = "main") -> float | None:
        text = by.get((about, what))
        return None if text is None or not re.search(r"\d", text) else number(text)[0]

    def clash(text: str) -> str:
        return f"{screen}: {text}"

    verdict, p = by.get(("main", "verdict")), of("p")
    better = verdict == "better"
    if p is not None and better and p >= LEVEL:
        yield clash(f"better with p {by['main', 'p']} at a level of {LEVEL}")
    if p is not None and verdict == "open" and p < LEVEL:
        yield clash(f"not shown with p {by['main', 'p']} at a level of {LEVEL}")
    for what, wrong in (("low", better), ("difference", better)):
        if wrong and (value := of(what)) is not None and value <= 0:
            yield clash(f"better with a {what} of {value}")
    if verdict == "open" and (of("low") or 0) > 0:
        yield clash(f"not shown with an interval above 0, from {of('low')}")
    if better and (of("gain") or math.inf) <= (of("reference's gain") or -math.inf):
        yield clash("better with the smaller gain")
    bound = of("ratio at least")
    if bound is not None and (better != (bound > 1)):
        yield clash(f"{verdict} with a ratio of at least {bound}")
    if ("main", "listed as") in by and verdict != "better":
        yield clash(f"{verdict}, listed as a ratio to the reference's gain")
    label = by.get(("main", "label"))
    if label and verdict and label != {"better": "significant", "open": "not significant"}[verdict]:
        yield clash(f"{verdict}, labelled {'not significant' if label == 'passed' else label}")
    holds = by.get(("main", "holds"))
    if holds and verdict and holds != str(better).lower():
        yield clash(f"{verdict}, holds: {holds}")
    needed, n = of("runs needed"), of("n")
    if needed is not None and n is not None and needed <= n:
        yield clash(f"it would take {needed:.0f} runs to show what {n:.0f} do not show")
    yield from map(clash, of_parts(by, of))
    yield from map(clash, of_ranks(by, verdict))


def of_parts(by: By, of: object) -> Iterator[str]:
    """Held-out tasks, the champion without its ideas."""
    assert callable(of)
    for (about, what), value in by.items():
        if what == "ratio to" and (named := by.get((about, "reference"))) and not named.startswith(value):
            yield f"{about}: compared with {named}, the ratio is to {value}"
        small = what == "p" and about.startswith("held-out") and number(value)[0] < LEVEL
        explained = (about, "why") in by or ("ranks", "explained") in by
        if small and by.get((about, "verdict")) == "open" and not explained:
            yield f"{about}: not shown with p {value}, and no word on why"
        beats = about.startswith("held-out") and what == "verdict" and value == "better"
        if beats and by.get(("main", "verdict")) not in ("better", None):
            yield f"{about}: beats, although the test that it depends on does not hold"
    low, high = of("low", "without ideas"), of("reference's high")
    if by.get(("without ideas", "verdict")) == "open" and low is not None and high is not None and low > high:
        yield f"without ideas not better, with an interval from {low} above the reference's up to {high}"
    bare, full = of("gain", "without ideas"), of("gain")
    if ("without ideas", "list") in by and bare is not None and full is not None and bare > full:
        yield f"the list adds something, and the champion gains {bare} without it, {full} with it"


def of_ranks(by: By, verdict: str | None) -> Iterator[str]:
    """Leads beside the verdict."""
    if verdict and verdict != "better" and by.get(("ranks", "one leads")) == "yes" and ("ranks", "explained") not in by:
        yield f"{verdict}, and a leader that is significantly better than all others"
    high, stock = by.get(("terminal rank", "high")), by.get(("terminal rank of stock", "low"))
    first = by.get(("terminal rank", "low"))
    shared = first and stock and int(stock) <= int(high or first)
    if verdict == "better" and shared and ("ranks", "explained") not in by:
        yield f"better, with a rank of {first}-{high} beside {stock} of stock and no word on it"
    if verdict == "open" and first == "1" and not high and not shared and ("ranks", "explained") not in by:
        yield f"{verdict}, and alone on rank 1"


def of_study(read: Mapping[str, tuple[Sequence[Statement], Sequence[str]]]) -> tuple[list[str], list[str]]:
    """(contradictions, what could not be read) of a study's screens."""
    clashes: list[str] = []
    unread = [f"{screen}: {line}" for screen, (_, lines) in read.items() for line in lines]
    everything = [one for said, _ in read.values() for one in said]
    champion = "json" in read
    for screen, (said, _) in read.items():
        by: dict[tuple[str, str], str] = {}
        for one in said:
            by.setdefault((one.about, one.what), one.value)
        if champion:
            unread += [f"{screen}: states no {what}" for what in LEAST.get(screen, ()) if ("main", what) not in by]
        elif screen == "report" and ("match", "leads") not in by:
            unread.append(f"{screen}: states no leader")
        clashes += impossible(screen, by, said)
    return list(dict.fromkeys([*clashes, *differing(everything)])), list(dict.fromkeys(unread))
