"""What an announcement says in words; one text for the pages, their twins and the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from analysis.wording import decimals, duration, many, number, span, typical
from arena.contest.race import Race
from arena.contest.stored import Announcement, MeasuredRow, NamedEntry, arm_label, entry_label


def sentences(said: Announcement) -> list[str]:
    """What an announcement says beside its headline, in the order of interest."""
    if said["outcome"] == "empty":
        return []
    digits, race = decimals(typical(row["se"] for row in said["rows"])), said.get("race")
    stock = said["gain"] - said["over_stock"]
    ratio, best = _ratio(said["gain"], said), entry_label(said["best"]["entrant"], said["best"]["name"])
    lines = [
        f"Over {many(said['n'], 'fresh run')}, {best} gains {number(said['gain'], digits)} {said['unit']} on "
        f"average (95% interval {span(said['low'], said['high'], digits)}), stock's two arms together "
        f"{number(stock, digits)}{f', so about {ratio:.1f} times as much' if ratio else ''}. The difference "
        f"is {number(said['over_stock'], digits, True)} (95% interval "
        f"{span(said['over_low'], said['over_high'], digits)})."
    ]
    if race:
        saved = race["equal_runs"] - race["runs"]
        same = f" With as many runs for everybody it would have taken {race['equal_runs']:,}." if saved > 0 else ""
        lines.append(
            f"The decision took {race['runs']:,} runs of {many(race['leaders'], 'leader')} and stock.{same} Intervals "
            f"and tests allow for all {many(len(race['looks']), 'look')} at the results on the way."
        )
    if (price := said.get("separate")) is not None:
        runs, seconds = price["runs"], price["device_seconds"]
        names = labels(said["winners"])
        first, second = (names[who["number"]] for who in said["winners"][:2])
        cost = (
            f"would take about {runs:,} runs of each, {duration(seconds)} of device time, if their true gains are "
            "those measured"
            if runs is not None and seconds is not None
            else "is not possible as it stands: their gains do not differ"
        )
        lines.append(f"To separate the first two, {first} and {second}, {cost}.")
    if check := said.get("aa_check"):
        lines.append(check)
    return lines


def labels(entries: Sequence[NamedEntry | MeasuredRow]) -> dict[int, str]:
    """Number → the entrant, with the entry's name where the entrant has several."""
    own = Counter(entry["entrant"] for entry in entries)
    return {
        entry["number"]: f"{entry['entrant']} ({entry['name']})" if own[entry["entrant"]] > 1 else entry["entrant"]
        for entry in entries
    }


def place(row: MeasuredRow, said: Announcement) -> str:
    """What a race says of an entry: who may be the best, and why each other one did not win. Empty without a race,
    where ranks say it, and for stock."""
    if not said.get("race") or row["role"] != "program":
        return ""
    if row["number"] in {who["number"] for who in said["winners"]}:
        return "first" if len(said["winners"]) == 1 else "shared first"
    if "lost" not in said:  # of an earlier version
        return f"left after {many(row['n'], 'run')}" if row["n"] < said["n"] else "did not win"
    lost = next((one for one in said["lost"] if one["number"] == row["number"]), None)
    if lost is None:
        return "does not win: the A/A check failed"
    digits = decimals(typical(row["se"] for row in said["rows"]))
    if lost["below"] is None:
        return f"not significantly above stock after {many(lost['runs'], 'run')}: {number(lost['by'], digits, True)}"
    other = next(row for row in said["rows"] if row["number"] == lost["below"])
    below = left_race(_name(other), number(lost["by"], digits), lost["runs"])
    beside = "above stock" if lost["above_stock"] else "not significantly above stock"
    return below if other["role"] != "program" else f"{below}; {beside}"


def left_race(below: str, by: str, runs: int) -> str:
    """Why an entry left the race. The look counted the first ``runs`` runs of each; tables also have the later ones."""
    return f"left after {many(runs, 'run')}: below {below} by {by} at that look"


def race_places(race: Race, names: Mapping[int, str], digits: int) -> dict[int, str]:
    """Number → how a leader stands in a race that goes on. ``names``: of the entries and of stock."""
    after = max(race.wanted.values(), default=race.looked)
    still = f"still in the race after {many(race.looked, 'run')}" if race.looked else "in the race"
    places = dict.fromkeys(race.entries, f"{still}; next look after {after}" if race.wanted else still)
    gone = race.out.items()
    return places | {number_: left_race(names[to], number(by, digits), runs) for number_, (to, by, runs) in gone}


def look_lines(race: Race, names: Mapping[int, str], digits: int) -> list[str]:
    """Who left at each look that was taken, and how many are still in, one line for each look."""
    lines, still = [], len(race.entries) + len(race.out)
    for look in [runs for runs in race.looks if runs <= race.looked]:
        gone = [(names[who], names[to], number(by, digits)) for who, (to, by, runs) in race.out.items() if runs == look]
        still -= len(gone)
        out = "; ".join(f"{who} is out, below {to} by {by}" for who, to, by in gone) or "none is out"
        lines.append(f"look after {many(look, 'run')} of each: {out}; {many(still, 'entry')} still in the race")
    if lines and race.entries:
        lines[-1] += f", {len(race.above_stock.intersection(race.entries))} of them significantly above stock"
    return lines


def _name(row: MeasuredRow) -> str:
    return entry_label(row["entrant"], row["name"]) if row["role"] == "program" else arm_label(row)


def places(said: Announcement) -> dict[int, str]:
    """Number → `place`, of all rows; empty without a race."""
    return {row["number"]: place(row, said) or "–" for row in said["rows"]} if said.get("race") else {}


def winning(entry_id: str, said: Announcement) -> str:
    """The headline of a winner's page; empty for any other entry."""
    row = next((row for row in said.get("rows", ()) if row["entry_id"] == entry_id), None)
    if row is None or entry_id not in [who["entry_id"] for who in said["winners"]]:
        return ""
    won = "won" if len(said["winners"]) == 1 else "shares the win"
    gain = number(row["gain"], decimals(typical(each["se"] for each in said["rows"])))
    ratio = _ratio(row["gain"], said)
    times = f", about {ratio:.1f} times stock's" if ratio else ""
    return f"{_name(row)} {won}: a gain of {gain} {said['unit']}{times}"


def _ratio(gain: float, said: Announcement) -> float | None:
    """How many times stock's gain that is; None where the best entry is not significantly above a positive one."""
    stock = said["gain"] - said["over_stock"]
    return gain / stock if stock > 0 and (said["over_low"] or 0) > 0 else None


def outcome(entry_id: str, said: Announcement) -> str:
    """What became of an entry in the decision; empty before it, and for one that took no part."""
    row = next((row for row in said.get("rows", ()) if row["entry_id"] == entry_id), None)
    if row is None or row["role"] != "program":
        return ""
    winners = [who["entry_id"] for who in said["winners"]]
    if entry_id in winners:
        return "first" if len(winners) == 1 else f"shared first, with {many(len(winners) - 1, 'other entry')}"
    return place(row, said) or "took part in the decision and did not win"
