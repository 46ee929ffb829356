"""What an announcement says in words; one text for the pages, their twins and the command."""

from __future__ import annotations

from analysis.wording import decimals, duration, many, number, span, typical
from arena.contest.stored import Announcement


def sentences(said: Announcement) -> list[str]:
    """What an announcement says beside its headline, in the order of interest."""
    if said["outcome"] == "empty":
        return []
    digits, race = decimals(typical(row["se"] for row in said["rows"])), said.get("race")
    looks = f", valid at all {len(race['looks'])} looks of the race" if race else ""
    tests = ", corrected for all leaders and looks" if race else ""
    lines = [
        f"The best entry's average gain over {many(said['n'], 'fresh run')} is {number(said['gain'], digits)} "
        f"{said['unit']} (95% interval {span(said['low'], said['high'], digits)}{looks}). Its difference from stock "
        f"(both arms together) is {number(said['over_stock'], digits, True)} (95% interval "
        f"{span(said['over_low'], said['over_high'], digits)}{tests})."
    ]
    if race:
        saved = race["equal_runs"] - race["runs"]
        same = f"; as many for everybody would have been {race['equal_runs']:,}" if saved > 0 else ""
        lines.append(
            f"The race: {many(race['leaders'], 'leader')}, {race['runs']:,} runs with stock's, the last look after "
            f"{race['looked']} runs each{same}."
        )
    if (price := said.get("separate")) is not None:
        runs, seconds = price["runs"], price["device_seconds"]
        first, second = (who["entrant"] for who in said["winners"][:2])
        cost = (
            f"would take about {runs:,} runs of each, {duration(seconds)} of device time, if they differ as measured"
            if runs is not None and seconds is not None
            else "is not possible as it stands: their gains do not differ"
        )
        lines.append(f"To separate the first two, {first} and {second}, {cost}.")
    return lines
