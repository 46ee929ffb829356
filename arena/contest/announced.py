"""What an announcement says in words; one text for the pages and the command."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.statistics import divides, mean_together
from analysis.wording import decimals, duration, listed, many, number, span, typical
from arena.contest.race import Race
from arena.contest.standing import scores_of_rows
from arena.contest.stored import Announcement, MeasuredRow, RaceFigures, arm_label, entry_label

OTHER_FIGURES = (
    "Why these gains differ from the board's: every run is new, with other seeds, and is measured afresh, on other "
    "data if the task has a hidden split. A gain over few runs depends on chance. The leaders were chosen for high "
    "gains on the board, which are partly luck, so their lead is usually smaller here."
)


def sentences(said: Announcement) -> list[str]:
    """What an announcement says beside its headline, in the order of interest."""
    if said["outcome"] == "empty":
        return []
    digits = digits_of(said)
    lines = [_group(said, digits) if len(said["winners"]) > 1 else _lead(said, digits)]
    if lead := _lead_over_second(said, digits):
        lines.append(lead)
    if race := said.get("race"):
        looks, taken = len(race["looks"]), sum(runs <= race["looked"] for runs in race["looks"])
        allowed = f"Intervals and tests allow for all {looks} planned looks at the results"
        several = f" {allowed}{f'; {taken} of them took place' if taken < looks else ''}." if looks > 1 else ""
        lines.append(f"{_spent(said)}{several}")
    if (price := said.get("separate")) is not None:
        runs, seconds = price["runs"], price["device_seconds"]
        first, second = (entry_label(who["entrant"], who["name"]) for who in said["winners"][:2])
        cost = (
            f"would take about {runs:,} runs of each, {duration(seconds)} of device time, if their true gains are "
            "those measured"
            if runs is not None and seconds is not None
            else "is not possible as it stands: their gains do not differ"
        )
        lines.append(f"To separate the first two, {first} and {second}, {cost}.")
    if check := said.get("aa_difference"):
        lines.append(check)
    return lines + renamed(said)


def renamed(said: Announcement) -> list[str]:
    """Which names are not those that were announced: the accounts were removed since."""
    return [
        f"{name} was announced under another name. The account was removed after the decision, and the "
        "new name stands here; the ledger still contains the announced one."
        for name in said.get("renamed", ())
    ]


def _lead(said: Announcement, digits: int) -> str:
    """How far the best entry is above stock."""
    stock, ratio = said["gain"] - said["over_stock"], _ratio(said["gain"], said)
    return (
        f"Over {many(said['n'], 'fresh run')}, {entry_label(said['best']['entrant'], said['best']['name'])} gains "
        f"{number(said['gain'], digits)} {said['unit']} on average{_interval(said['low'], said['high'], digits)}, "
        f"stock's two arms together "
        f"{number(stock, digits)}{f', so about {ratio:.1f} times as much' if ratio else ''}. The difference "
        f"is {number(said['over_stock'], digits, True)}{_interval(said['over_low'], said['over_high'], digits)}."
    )


def _lead_over_second(said: Announcement, digits: int) -> str:
    """How far the winner is above the best of the others, which readers ask first; empty without one winner of a race.
    The interval is stated where the look that separated the two had the runs that the rows have."""
    rows = {row["number"]: row for row in said["rows"]}
    others = [one for one in said["lost"] if one["number"] in rows]
    if len(said["winners"]) != 1 or not others:
        return ""
    first = rows[said["best"]["number"]]
    lost = max(others, key=lambda one: rows[one["number"]]["gain"])
    second = rows[lost["number"]]
    lead, known = first["gain"] - second["gain"], ""
    if lead <= 0:  # over all runs; the other one was below at the look at which it left
        return ""
    if lost["runs"] == first["n"] == second["n"]:
        scores = scores_of_rows((first, second))
        if {first["number"], second["number"]} <= set(scores.keys):
            known = _interval(*scores.over(first["number"], second["number"], said["race"]["level"])[1:], digits)
    return (
        f"{arm_label(first)} gains {number(lead, digits)} {said['unit']}{known} more than {arm_label(second)}, the "
        f"best of the other entries ({number(second['gain'], digits)} over {many(second['n'], 'run')})."
    )


def _interval(low: float | None, high: float | None, digits: int) -> str:
    """In brackets, where there is one."""
    return "" if low is None or high is None else f" (95% interval {span(low, high, digits)})"


def _group(said: Announcement, digits: int) -> str:
    """What a tied group gains: no entry of it is named as the best."""
    winners = {who["number"] for who in said["winners"]}
    gains = sorted(row["gain"] for row in said["rows"] if row["number"] in winners)
    ends = dict.fromkeys(number(gain, digits) for gain in (gains[0], gains[-1]))
    return (
        f"Over {many(said['n'], 'fresh run')} of each, the {len(winners)} entries gain "
        f"{' to '.join(ends)} {said['unit']} on average, stock's two arms "
        f"together {number(said['gain'] - said['over_stock'], digits)}. The runs do not separate the winners."
    )


def runs_taken(said: Announcement) -> list[str]:
    """The same in a line: for the card."""
    if not (race := said.get("race")):
        return []
    return [f"The decision took {race['runs']:,} runs; at most {_planned(race):,} were planned."]


def _planned(race: RaceFigures) -> int:
    """The runs that all leaders and stock would have had at the last look."""
    return race["equal_runs"] // max(race["looked"], 1) * race["looks"][-1]


def _spent(said: Announcement) -> str:
    """How many runs the decision took, and why not as many as it might have: a race ends early."""
    race, last = said["race"], said["race"]["looks"][-1]
    took = f"The decision took {race['runs']:,} runs of {many(race['leaders'], 'leader')} and stock"
    most = _planned(race)
    if race["runs"] >= most:
        return f"{took}."
    early = sum(one["below"] is not None and one["runs"] < race["looked"] for one in said.get("lost", ()))
    of_stock = max((row["n"] for row in _stock(said)), default=race["looked"])
    why = [f"the race ended after {race['looked']} runs of each leader still in it"] if race["looked"] < last else []
    why += [f"{many(early, 'leader')} had left it before"] if early else []
    if of_stock < race["looked"] or not why:
        why.append(f"stock stopped after {of_stock}, once all leaders still in the race were above it")
    return f"{took}. Up to {most:,} were planned, {last} of each entry, but {listed(why)}."


def secret_check(said: Announcement) -> str:
    """A command that prints the SHA-256 that was published at the opening: of the secret's bytes, not of its digits."""
    secret = said.get("secret", "")
    return f"""python3 -c "import hashlib; print(hashlib.sha256(bytes.fromhex('{secret}')).hexdigest())\""""


def race_result(row: MeasuredRow, said: Announcement) -> str:
    """What a race says of an entry: who may be the best, and why each other one did not win. Empty without a race,
    where ranks say it, and for stock."""
    if not said.get("race") or row["role"] != "program":
        return ""
    if row["number"] in {who["number"] for who in said["winners"]}:
        return "won" if len(said["winners"]) == 1 else "shares the win"
    lost = next(one for one in said["lost"] if one["number"] == row["number"])
    digits = digits_of(said)
    if lost["below"] is None:
        return f"not significantly above stock after {many(lost['runs'], 'run')}: {number(lost['by'], digits, True)}"
    other = next(row for row in said["rows"] if row["number"] == lost["below"])
    against = arm_label(other) if other["role"] == "program" else "stock"  # both arms, as one sample
    below = left_race(against, number(lost["by"], digits), lost["runs"])
    beside = "above stock" if lost["above_stock"] else "not significantly above stock"
    return below if other["role"] != "program" else f"{below}; {beside}"


def left_race(below: str, by: str, runs: int) -> str:
    """Why an entry left the race. The look counted the first ``runs`` runs of each; tables also have the later ones."""
    other = f"{below} (the plain program)" if below == "stock" else below
    return f"out of the race after {many(runs, 'run')}, when it was {by} worse than {other}"


def race_places(race: Race, names: Mapping[int, str], digits: int, done: Mapping[int, int]) -> dict[int, str]:
    """Number → how a leader stands in a race that goes on. ``names``: of the entries and of stock; ``done``: the runs
    that each entry has on every task."""
    after = max(race.wanted.values(), default=race.looked)
    still = f"still in the race after {many(race.looked, 'run')}" if race.looked else "in the race"
    standings = {one: f"{still}; {done[one]} of {after} runs done" if race.wanted else still for one in race.entries}
    gone = race.out.items()
    return standings | {number_: left_race(names[to], number(by, digits), runs) for number_, (to, by, runs) in gone}


def look_lines(race: Race, names: Mapping[int, str], digits: int) -> list[str]:
    """Who left at each look that was taken, and how many are still in, one line for each look."""
    lines, still = [], len(race.entries) + len(race.out)
    for look in [runs for runs in race.looks if runs <= race.looked]:
        gone = [(names[who], names[to], number(by, digits)) for who, (to, by, runs) in race.out.items() if runs == look]
        still -= len(gone)
        out = "; ".join(f"{who} is out, below {to} by {by}" for who, to, by in gone) or "none is out"
        lines.append(f"look after {many(look, 'run')} of each: {out}; {many(still, 'entry')} still in the race")
    if lines and race.entries:
        above = len(race.above_stock.intersection(race.entries))
        one = "significantly above stock" if above else "not significantly above stock so far"
        all_of_them = "both" if still == 2 else "all"
        share = all_of_them if above == still else str(above or "none")
        lines[-1] += f", {one}" if still == 1 else f", {share} of them significantly above stock"
    return lines


def race_results(said: Announcement) -> dict[int, str]:
    """Number → `race_result`, of all rows; empty without a race."""
    return {row["number"]: race_result(row, said) or "–" for row in said["rows"]} if said.get("race") else {}


def winning(entry_id: str, said: Announcement) -> str:
    """The headline of a winner's page; empty for any other entry."""
    row = next((row for row in said.get("rows", ()) if row["entry_id"] == entry_id), None)
    if row is None or entry_id not in [who["entry_id"] for who in said["winners"]]:
        return ""
    others = len(said["winners"]) - 1
    won = f"shares the win with {many(others, 'other entry')}" if others else "won"
    digits = digits_of(said)
    gain = f"{number(row['gain'], digits)} {said['unit']}{_interval(row['low'], row['high'], digits)}"
    ratio = _ratio(row["gain"], said)
    times = f", about {ratio:.1f} times stock's" if ratio else ""
    return f"{arm_label(row)} {won}: a gain of {gain} over {many(row['n'], 'fresh run')}{times}"


def _stock(said: Announcement) -> list[MeasuredRow]:
    return [row for row in said["rows"] if row["role"] != "program"]


def _ratio(gain: float, said: Announcement) -> float | None:
    """How many times stock's gain that is; None where no ratio to it is stated, as in a study's verdict, or the best
    entry is not significantly above it."""
    stock = _stock(said)
    mean = mean_together((row["gain"], row["se"], row["n"]) for row in stock)
    clear = all(row["se"] is not None for row in stock) and divides(mean)
    return gain / (said["gain"] - said["over_stock"]) if clear and (said["over_low"] or 0) > 0 else None


def digits_of(said: Announcement) -> int:
    """The decimal places of the decision's gains, on every page."""
    return decimals(typical(row["se"] for row in said["rows"]))


def outcome(entry_id: str, said: Announcement) -> str:
    """What became of an entry in the decision; empty before it, and for one that took no part."""
    row = next((row for row in said.get("rows", ()) if row["entry_id"] == entry_id), None)
    if row is None or row["role"] != "program":
        others = (*said.get("not_racing", ()), *said.get("left_out", ()))
        return next((who["why"] for who in others if who["entry_id"] == entry_id), "")
    winners = [who["entry_id"] for who in said["winners"]]
    if entry_id in winners:
        return "won" if len(winners) == 1 else f"shares the win with {many(len(winners) - 1, 'other entry')}"
    return race_result(row, said) or "took part in the decision and did not win"
