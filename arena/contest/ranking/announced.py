"""An announcement in words: fixed sentences with its figures, one text for the pages, the card and the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.wording import decimals, duration, many, number, span, typical
from arena.contest.ranking.race import Race
from arena.contest.stored import Announcement, MeasuredRow, NamedEntry, arm_label, entry_label
from programs.common.text import listed


def sentences(said: Announcement) -> list[str]:
    """What an announcement says beside its headline, in the order of interest."""
    if said["outcome"] == "empty":
        return []
    lines = [_gains(said)]
    if (price := said.get("separate")) is not None:
        runs, seconds = price["runs"], price["device_seconds"]
        cost = "no number of runs" if runs is None else f"about {runs:,} runs of each ({duration(seconds)})"
        lines.append(f"The runs do not separate the winners; {cost} would separate the first two (80% power).")
    lines += [spent(said), said.get("aa_difference", "")]
    return [line for line in lines if line]


def headline(winners: Sequence[NamedEntry], best: NamedEntry) -> str:
    """Who won, in a line."""
    names = listed([entry_label(who["entrant"], who["name"]) for who in winners])
    if len(winners) > 1:
        return f"{names} share the win: the runs do not separate them"
    if winners:
        return f"{names} won"
    label = entry_label(best["entrant"], best["name"])
    return f"No winner: the runs do not show that the best entry, {label}, is better than stock"


def _gains(said: Announcement) -> str:
    """What the best entry, or a tied group, gains, and stock's two arms as one sample."""
    digits, winners = digits_of(said), {who["number"] for who in said["winners"]}
    stock = f"stock {number(said['gain'] - said['over_stock'], digits)}"
    best = entry_label(said["best"]["entrant"], said["best"]["name"])
    over = f"{number(said['over_stock'], digits, True)}{_interval(said['over_low'], said['over_high'], digits)}."
    if len(winners) > 1:
        gains = sorted(row["gain"] for row in said["rows"] if row["number"] in winners)
        ends = " to ".join(dict.fromkeys(number(gain, digits) for gain in (gains[0], gains[-1])))
        return (
            f"Over {many(said['n'], 'fresh run')} of each, the winners gain {ends} {said['unit']} on average, {stock}. "
            f"Each is significantly better than stock; the difference of {best} is {over}"
        )
    return (
        f"Over {many(said['n'], 'fresh run')}, {best} gains {number(said['gain'], digits)} {said['unit']} on average"
        f"{_interval(said['low'], said['high'], digits)}, {stock}. The difference is {over}"
    )


def _interval(low: float | None, high: float | None, digits: int) -> str:
    """In brackets, where there is one."""
    return "" if low is None or high is None else f" (95% interval {span(low, high, digits)})"


def spent(said: Announcement) -> str:
    """How many runs the decision took, and how many all leaders and stock would have had at the last look."""
    if not (race := said.get("race")):
        return ""
    most = race["equal_runs"] // max(race["looked"], 1) * race["looks"][-1]
    runs, looks = f"{race['runs']:,} runs of {many(race['leaders'], 'leader')} and stock", len(race["looks"])
    took = f"The decision took {runs}; at most {most:,} were planned"
    of_stock = min((row["n"] for row in said["rows"] if row["role"] != "program"), default=said["n"])
    if of_stock < said["n"]:
        took += f"; stock stopped after {of_stock} in each arm, when every leader left was significantly above it"
    return f"{took}. Intervals and tests, A/A apart, allow for all {looks} planned looks." if looks > 1 else f"{took}."


def secret_check(said: Announcement) -> str:
    """A command that prints the SHA-256 that was published at the opening: of the secret's bytes, not of its digits."""
    secret = said.get("secret", "")
    return f"""python3 -c "import hashlib; print(hashlib.sha256(bytes.fromhex('{secret}')).hexdigest())\""""


def race_result(row: MeasuredRow, said: Announcement) -> str:
    """What the race says of an entry; empty without a race, where ranks say it, and for stock."""
    if not said.get("race") or row["role"] != "program":
        return ""
    if any(row["number"] == who["number"] for who in said["winners"]):
        return "won" if len(said["winners"]) == 1 else "shares the win"
    lost = next(loss for loss in said["lost"] if loss["number"] == row["number"])
    digits = digits_of(said)
    if lost["below"] is None:
        over = number(lost["by"], digits, True)
        return f"not significantly better than stock after {many(lost['runs'], 'run')}: {over}"
    other = next(row for row in said["rows"] if row["number"] == lost["below"])
    return left_race(
        arm_label(other) if other["role"] == "program" else "stock", number(lost["by"], digits), lost["runs"]
    )


def left_race(below: str, by: str, runs: int) -> str:
    """Why an entry left the race. The look counted the first ``runs`` runs of each; tables also have the later ones."""
    return f"out after {many(runs, 'run')}: {by} below {below}"


def race_places(race: Race, names: Mapping[int, str], digits: int, done: Mapping[int, int]) -> dict[int, str]:
    """Number → how a leader stands in a race that goes on. ``names``: of the entries and of stock; ``done``: the runs
    that each entry has."""
    standings = {
        entry: f"in the race; {done[entry]} of {max(race.wanted.values(), default=done[entry])} runs"
        for entry in race.entries
    }
    lost = race.out.items()
    return standings | {number_: left_race(names[to], number(by, digits), runs) for number_, (to, by, runs) in lost}


def look_lines(race: Race, names: Mapping[int, str], digits: int) -> list[str]:
    """Who left at each look that was taken, and how many are still in, one line for each look."""
    lines, still = [], len(race.entries) + len(race.out)
    for look in [runs for runs in race.looks if runs <= race.looked]:
        left = [
            (names[who], names[to], number(margin, digits))
            for who, (to, margin, runs) in race.out.items()
            if runs == look
        ]
        still -= len(left)
        out = "; ".join(f"{who} is out, {margin} below {to}" for who, to, margin in left) or "none is out"
        lines.append(f"look after {many(look, 'run')} of each: {out}; {many(still, 'entry')} still in the race")
    return lines


def race_results(said: Announcement) -> dict[int, str]:
    """Number → `race_result`, of all rows; empty without a race."""
    return {row["number"]: race_result(row, said) or "–" for row in said["rows"]} if said.get("race") else {}


def digits_of(said: Announcement) -> int:
    """The decimal places of the decision's gains, on every page."""
    return decimals(typical(row["se"] for row in said["rows"]))


def outcomes(said: Announcement) -> dict[int, str]:
    """Number → what became of an entry in the decision; empty before it."""
    others = {who["number"]: who["why"] for who in (*said.get("not_racing", ()), *said.get("left_out", ()))}
    return others | {row["number"]: result for row in said.get("rows", ()) if (result := race_result(row, said))}
