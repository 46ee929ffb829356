"""The best train.py of a study as text, beside the other uses of its device time."""

from __future__ import annotations

from analysis.decision import Decision
from analysis.same_spend import FoundScript, SameSpend
from analysis.trust import marked
from analysis.wording import count, interval_decimals, many, number, span
from trainer import freshness


def harvested_of(d: Decision) -> list[FoundScript]:
    """The best train.py of each task, from its last search."""
    return [each for each in d.scripts if each.search == "harvest"]


def best_scripts(d: Decision) -> list[str]:
    """The best train.py of the study, and of other uses of its device time; none of it is tested."""
    ours = [harvested(each, d) for each in harvested_of(d)]
    estimated = [spend(each, d) for each in d.spend if not each.measured]
    return [*ours, *estimated, *measured_scripts(d)]


def measured_scripts(d: Decision) -> list[str]:
    """Those of other uses that were asked for (`--same-spend`)."""
    longs = [long_search(each, d) for each in d.scripts if each.search != "harvest"]
    return [*(spend(each, d) for each in d.spend if each.measured), *longs]


def harvested(script: FoundScript, d: Decision) -> str:
    where = f" on {script.task}" if d.tasks else ""
    fresh = freshness.SPLIT if script.trust == "verified" else freshness.of_record(d.fresh, script.trust)
    origin = f"the study{where}, from a last search (harvest) of {many(script.experiments, 'experiment')},"
    if not script.experiments:
        origin = "the runs, by their own scores,"
    sure = " One training cannot show that it is better than the untouched one." * (script.n == 1)
    return f"The best train.py of {origin} gains {script_gain(script)}, {freshness.CHOSEN[fresh]}.{sure}"


def long_search(script: FoundScript, d: Decision) -> str:
    where = f" on {script.task}" if d.tasks else ""
    name = {"long-tpe": "TPE", "long-elite": "elite"}.get(script.search, script.search)
    return (
        f"Measured: one long {name} search with the device time of the whole study{where} "
        f"({many(script.experiments, 'experiment')}) ends with a train.py that gains {script_gain(script)}."
    )


def script_gain(script: FoundScript, why: bool = True) -> str:
    """``why``: also why a weak trust is weak, unless that is said beside it."""
    digits = interval_decimals(script.low, script.high)
    doubt = f", {marked(script.trust) if why else script.trust}" if marked(script.trust) else ""
    interval_ = f"[{span(script.low, script.high, digits)}]"
    return f"{number(script.gain, digits)} {script.unit} {interval_} ({many(script.n, 'fresh seed')}{doubt})"


def spend(same: SameSpend, d: Decision) -> str:
    """The best of as many stock runs as the whole study cost, beside one run of the champion."""
    on = next((each.champion for each in d.tasks if each.task == same.task), d.champion)
    where = f" on {same.task}" if d.tasks else ""
    stock_runs = many(same.runs, "stock run")
    text = f"The device time of the whole study{where} pays for {stock_runs}. "
    known = many(same.known, "stock run")
    if same.gain is None:
        return f"{text}The gain of the best of them is unknown: {known} are too few to estimate it."
    digits = interval_decimals(same.low, same.high)
    gain = f"{number(same.gain, digits)} {same.unit} [{span(same.low, same.high, digits)}]"
    beside = f"one run of {d.name} gains {number(on.mean, digits)}"
    average = None if d.tasks or d.against_own else d.tested.gain.mean  # of one stock run
    if average is not None and same.gain <= average:
        within = " (within that interval)" * (same.high is not None and average <= same.high)
        beside += f", one of stock {number(average, digits)}{within}"
    if same.measured:
        return f"{text}Measured: the best script of {same.best_of} stock runs gains {gain}; {beside}."
    if same.best_of == same.runs:
        return (
            f"{text}Estimated from the {known} of this study, the best of them by its own score gains {gain}; {beside}."
        )
    return (
        f"{text}From the {known} of this study, the best of at most {same.best_of} can be estimated: chosen by its own "
        f"score, it gains {gain}; {beside}. To measure the best of {count(same.runs)}: metaloop evolve --same-spend."
    )
