"""The best train.py of a study as text."""

from __future__ import annotations

from analysis.decision import Decision
from analysis.events import MOST_DRIFT
from analysis.found_scripts import FoundScript
from analysis.trust import marked
from analysis.wording import interval_decimals, many, number, span
from trainer.cards import freshness


def best_scripts(d: Decision) -> list[str]:
    """The best train.py of each task, on which nothing is tested."""
    return [harvested(each, d) for each in d.scripts]


def harvested(script: FoundScript, d: Decision) -> str:
    where = f" on {script.task}" if d.tasks else ""
    fresh = freshness.SPLIT if script.trust == "verified" else freshness.of_record(d.fresh, script.trust)
    origin = f"the study{where}, from a last search (harvest) of {many(script.experiments, 'experiment')},"
    origin = "the night" if d.night else origin
    return f"The best train.py of {origin} gains {script_gain(script)}, {freshness.CHOSEN[fresh]}.{drifted(script)}"


def drifted(script: FoundScript) -> str:
    """What makes the gain of a time worth nothing; else empty."""
    if script.drift is None or abs(script.drift) <= MOST_DRIFT:
        return ""
    how = "slower" if script.drift > 0 else "faster"
    return (
        f" This is no verdict: at the end the machine was {how}, by {abs(script.drift):.1f} SD of the untouched files."
        " Measure it again when nothing else runs."
    )


def script_gain(script: FoundScript, why: bool = True) -> str:
    """``why``: also why a weak trust is weak, unless that is said beside it."""
    digits = interval_decimals(script.low, script.high)
    doubt = f", {marked(script.trust) if why else script.trust}" if marked(script.trust) else ""
    interval_ = f"[{span(script.low, script.high, digits)}]"
    return f"{number(script.gain, digits)} {script.unit} {interval_} ({many(script.n, 'fresh seed')}{doubt})"
