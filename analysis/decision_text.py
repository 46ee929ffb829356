"""The words of a decision: headline, sentence, and the caveats, for every page that speaks of a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.decision import BETTER, CHECK_LEVEL, CONTROL_FAILED, Check, Compared, Decision
from analysis.same_spend import SameSpend
from analysis.statistics import Mean, Ratio
from analysis.trust import marked
from analysis.wording import at_least, bracket, decimals, interval_decimals, listed, many, number, p_text, span
from trainer import freshness


@dataclass(frozen=True)
class Caveat:
    """``level``: stop (do not believe the verdict), mind (it weakens it) or note (good to know)."""

    level: str
    title: str
    text: str


def headline(d: Decision) -> str:
    if d.state == CONTROL_FAILED:
        return "No verdict: the control failed its own check"
    return f"{d.name} {'beats' if d.state == BETTER else 'is not shown to beat'} {reference(d)}"


def reference(d: Decision) -> str:
    return f"your program {d.tested.name}" if d.against_own else "stock"


def sentence(d: Decision, where: str = "") -> str:
    """The figures in one sentence; ``where``: ``on TASK``, as the reader knows it."""
    digits = interval_decimals(d.tested.low, d.tested.high)
    ours = f"{number(d.champion.mean, digits)} {d.unit} [{span(d.champion.low, d.champion.high, digits)}]"
    theirs = f"{number(d.tested.gain.mean, digits)} [{span(d.tested.gain.low, d.tested.gain.high, digits)}]"
    interval_ = span(d.tested.low, d.tested.high, digits)
    lead = f"{number(d.tested.difference, digits, True)} {d.unit}, 95% interval {interval_}"
    figures = (
        f"Verified gain{where and ' ' + where}: {ours} for {d.name}, {theirs} for {reference(d)}. "
        f"Difference: {lead} ({runs(d)}, one-sided p {p_text(d.p)})."
    )
    if d.state == CONTROL_FAILED:
        return f"{figures} Nothing is announced, because two arms of stock disagree."
    return figures if d.state == BETTER else f"{figures} A difference this small may be chance."


def line(d: Decision) -> str:
    """Headline and figures on one line, as a command ends and the ledger has it."""
    figures = f"{gains(d.champion, d.tested, d.unit)}; {runs(d)}"
    if d.tasks:
        each = [
            f"on {on.task} gain {interval(on.champion)} {on.unit} against {interval(on.tested)}{times(on.ratio)}"
            for on in d.tasks
        ]
        apart = f"{d.tested.difference:.4g}{bracket(d.tested.low, d.tested.high)} {d.unit}"
        figures = f"mean over {len(each)} tasks, difference {apart}; {'; '.join(each)}; {runs(d)} on each"
    doubt = f"; {marked(d.trust)}" if marked(d.trust) else ""
    ratio = times(d.tested.ratio) if d.holds else ""
    return f"{headline(d)}{ratio} ({figures}; one-sided p = {d.p:.2g}){doubt}"


def gains(champion: Mean, other: Compared, unit: str) -> str:
    return f"gain {interval(champion)} {unit} against {interval(other.gain)} of {other.name}"


def runs(d: Decision) -> str:
    pooled = " of its two arms" if d.check is not None and not d.against_own else ""
    return f"{d.champion.n} runs against {d.tested.gain.n}{pooled}"


def remarks(d: Decision) -> list[str]:
    """What is said beside the headline, in the order of weight: one sentence or two each."""
    return [caveat.text for caveat in caveats(d)]


def notes(d: Decision) -> list[str]:
    """Further figures, none of which is tested."""
    found = []
    if d.holds and d.tested.ratio.ratio is not None:
        at = at_least(d.tested.ratio.lower, 95)
        found.append(f"That is {d.tested.ratio.ratio:.2f} times the gain of {reference(d)} ({at}).")
    if d.beside is not None:
        digits = interval_decimals(d.beside.low, d.beside.high)
        lead = f"{number(d.beside.difference, digits, True)} {d.unit}, 95% interval "
        found.append(
            f"Beside it, not tested: champion minus stock is {lead}{span(d.beside.low, d.beside.high, digits)}"
            f"{times(d.beside.ratio)}."
        )
    found += [on_task(on.task, d) for on in d.tasks]
    if d.bare_ratio is not None and d.bare_ratio.ratio is not None:
        these = "these tasks" if d.tasks else "this task"
        found.append(
            f"Without its list of ideas it reaches {d.bare_ratio.ratio:.2f} times the gain of {reference(d)} "
            f"({at_least(d.bare_ratio.lower, 95)}): what the list adds may be memory of {these}."
        )
    return found + [spend(each, d) for each in d.spend]


def spend(found: SameSpend, d: Decision) -> str:
    """The same total spend on stock runs, one script kept; beside it what one run of the champion gains."""
    on = next((each.champion for each in d.tasks if each.task == found.task), d.champion)
    where = f" on {found.task}" if d.tasks else ""
    told = f"The whole study's spend{where} buys {many(found.runs, 'stock run')}. "
    if found.gain is None:
        return f"{told}What the best of them gains is unknown: {many(found.known, 'stock run')} say nothing of it."
    digits = interval_decimals(found.low, found.high)
    gain = f"{number(found.gain, digits)} {found.unit} [{span(found.low, found.high, digits)}]"
    beside = f"one run of {d.name} gains {number(on.mean, digits)}"
    if found.measured:
        return f"{told}Measured: the best script of {found.best_of} stock runs gains {gain}; {beside}."
    told += (
        f"Estimated from {many(found.known, 'stock run')}: the best script of {found.best_of} gains {gain}; {beside}."
    )
    if found.best_of < found.runs:
        told += f" The best of {found.runs} is unknown, these runs are too few for it; --same-spend measures it."
    return told


def on_task(task: str, d: Decision) -> str:
    """One of several home tasks: gains there, and what they are divided by in the mean over all."""
    on = next(each for each in d.tasks if each.task == task)
    digits, size = interval_decimals(on.low, on.high), number(on.scale, decimals(on.scale))
    what = "stock's gain in the search" if on.of_stock else "a standard deviation between runs"
    ours, theirs = number(on.champion.mean, digits), number(on.tested.mean, digits)
    return (
        f"On {task}: {ours} against {theirs} {on.unit} of {reference(d)}{times(on.ratio)}; it counts in units of "
        f"{size} {on.unit}, {what}."
    )


def caveats(d: Decision) -> list[Caveat]:
    """Everything that weakens the verdict, worst first, and the checks that it passed."""
    found = []
    if d.state == CONTROL_FAILED:
        found.append(Caveat("stop", "The control failed its own check", _failed(d)))
    elif d.state != BETTER:
        text = f"What is shown of {d.name} is a record of what was tried, not of what works."
        found.append(Caveat("stop", f"The champion is not shown to beat {reference(d)}", text))
    if marked(d.trust):
        found.append(Caveat("stop", "Weak trust", f"The scores are {marked(d.trust)}."))
    if d.fresh not in ("", freshness.SPLIT):
        cure = f" To make it verifiable: {listed(d.cures)}." if d.cures else ""
        found.append(Caveat("mind", "Not all of the check is fresh", freshness.SAID[d.fresh] + cure))
    if d.same_as:
        found.append(Caveat("note", "Compared with stock", _same(d)))
    if d.bare_ratio is not None and d.bare_ratio.ratio is not None and (d.bare_ratio.lower or 0.0) <= 1:
        text = (
            f"Without its ideas the champion reaches {d.bare_ratio.ratio:.2f} times the gain of {reference(d)}, which "
            "is not shown to be more. A list of ideas may be memory of this task: expect less elsewhere."
        )
        found.append(Caveat("mind", "The gain may be the idea list alone", text))
    if d.check is not None and d.check.passed:
        found.append(Caveat("note", "A/A check passed", check(d.check)))
    if d.look > 1:
        text = "The first confirmation was not announced, because its control failed. This is the second, on new data."
        found.append(Caveat("note", "Second confirmation", text))
    if not d.recorded:
        text = "An older version announced this verdict: it did not pool stock with its A/A arm, nor check the two."
        found.append(Caveat("note", "Older verdict", text))
    return found


def check(found: Check) -> str:
    """The A/A check in a sentence, with its standard error."""
    on = f" on {found.task}" if found.task else ""
    if found.p is None or found.se is None:
        return f"A/A: two arms of stock{on} differ by {found.difference:.3g} {found.unit}; too few runs for a check."
    digits = decimals(found.se)
    size = f"{number(found.difference, digits, True)} {found.unit}, standard error {number(found.se, digits)}"
    result = "not significant" if found.passed else f"significant at {CHECK_LEVEL:.0%}"
    return f"A/A: two arms of stock{on} differ by {size} ({result}, p {p_text(found.p)})."


def _failed(d: Decision) -> str:
    assert d.check is not None
    if d.can_be_confirmed_again:
        again = (
            "The study can be confirmed once more, on a new split whose share of the error was reserved at the start: "
            "resume it with --confirm-again."
        )
    else:
        again = "It failed twice: this machine or task does not give equal programs equal results."
    return f"{check(d.check)} {again}"


def _same(d: Decision) -> str:
    if d.same_as == "champion":
        return (
            f"The champion behaves like your program {d.own}: no better program was found. So the test is against "
            "stock."
        )
    return (
        f"Your program {d.own} behaves like stock for this researcher: nothing in it that the researcher carries out "
        "differs from stock. So the test is against stock."
    )


def interval(mean: Mean) -> str:
    return "not measured" if mean.mean is None else f"{mean.mean:.4g}{bracket(mean.low, mean.high)}"


def times(ratio: Ratio) -> str:
    return "" if ratio.ratio is None else f", {ratio.ratio:.2f} times its gain ({at_least(ratio.lower, 95)})"
