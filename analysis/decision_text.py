"""A decision as text: headline, sentence and caveats, the same on every page that shows the verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from analysis import night_text
from analysis.decision import (
    BETTER,
    LEVEL,
    OPEN,
    ArmsDifference,
    Decision,
    shown_larger,
)
from analysis.figures_text import difference, differs, gain, gains, skewed, times, times_of
from analysis.own_share import (
    STUDY,
    as_good,
    beside_learnt,
    compared,
    first_program,
    memory,
    not_by_evolution,
    own_share,
)
from analysis.power import runs_needed
from analysis.script_text import best_scripts
from analysis.statistics import Mean
from analysis.trust import gain_name, marked
from analysis.wording import (
    MINUS,
    at_least,
    bracket,
    count,
    decimals,
    interval_decimals,
    listed,
    many,
    number,
    p_text,
    span,
)
from trainer.cards import freshness

MOST = 10_000  # runs that a sentence asks for: more are beyond any budget
PLANNED = (
    "The verdict comes from one planned test of the champion against all runs of the program that it is compared with. "
    "Ranks are not shown here: they come from tests of all pairs of arms, which are stricter."
)
STOCKS = "stock's"
OTHER_LOAD = "The machine had other load"
SPECIFIC = "The list may be specific to this task, so expect less on other tasks."
AA = "A/A difference"
GATED = "a test on a held-out task counts only if the verdict holds"


def gated(holds: bool, p: float | None) -> str:
    """Why a held-out task shows nothing although its own p is small; else empty."""
    return f", because {GATED}" if not holds and p is not None and p < LEVEL else ""


@dataclass(frozen=True)
class Caveat:
    """``level``: stop (do not rely on the verdict), mind (it weakens the verdict) or note (good to know)."""

    level: str
    title: str
    text: str


def headline(d: Decision) -> str:
    """The result, of a lead the difference, and what evolution did not add to it."""
    return f"{result(d, f' by {difference(d.tested, d.unit, d.digits, signed=False)}')}{not_by_evolution(d)}"


def result(d: Decision, lead: str = "") -> str:
    """``lead``: `` by`` how much, for a verdict that holds."""
    if d.night:
        return night_text.headline(d)
    same = f", which is how this researcher runs {yours(d.own)}" if d.own and d.same_as == "stock" else ""
    if d.state == BETTER:
        return f"{d.name} beats {reference(d)}{lead}{same}"
    more = f"{' and' * bool(same)} which gained more in these runs" if reference_gained_more(d) else ""
    return f"{d.name} is not shown to beat {reference(d)}{same}{more and ','}{more}"


def reference_gained_more(d: Decision) -> bool:
    """Whether a champion that is not shown to be better even gained less."""
    return d.state == OPEN and not d.night and d.tested.difference is not None and d.tested.difference < 0


def shown(d: Decision) -> str:
    """The verdict in a cell of a table."""
    if d.night:
        return night_text.of_main(d)
    if not d.holds:
        return f"not shown to beat {d.tested.name}"
    if d.tested.difference is None:
        return f"beats {d.tested.name}"
    return f"beats {d.tested.name} by {difference(d.tested, d.unit, d.digits, signed=False)}"


def reference(d: Decision) -> str:
    return yours(d.tested.name) if d.against_own else "stock"


def yours(name: str) -> str:
    """``your program lab``; a file program.md gives no name of its own."""
    return "your program" if name == "program" else f"your program {name}"


def sentence(d: Decision, where: str = "") -> str:
    """The figures in one sentence; ``where``: ``on TASK``."""
    if d.night:
        return f"{night_text.turns(d)}."
    digits = d.digits
    ours = gain(d.champion, digits, d.unit)
    theirs = gain(d.tested.gain, digits)
    interval_ = span(d.tested.low, d.tested.high, digits)
    interval_ = "no interval" if d.tested.low is None else f"95% interval {interval_}"
    lead = f"{number(d.tested.difference, digits, True)} {d.unit}, {interval_}"
    figures = (
        f"{gain_name(d.trust).capitalize()}{where and ' ' + where}: {ours} for {d.name}, {theirs} for {reference(d)}. "
        f"Difference: {lead} ({runs(d)}, one-sided p {tested_p(d.p)})."
        f"{skewed(d.tested.difference, d.tested.low, d.tested.high)}"
    )
    return figures if d.state == BETTER else f"{figures} The difference is not statistically significant."


def tested_p(p: float) -> str:
    """The announced p-value after the letter p, with enough digits to show on which side of the level it is."""
    return p_text(p, LEVEL)


def line(d: Decision) -> str:
    """The result with its difference, then the figures, then the champion's origin: for the end of a command and for
    the ledger."""
    if d.night:
        return night_text.line(d).replace(MINUS, "-")
    each = [
        f"on {on.task} gain {gains(on.champion, on.tested, on.unit)}{times(on.tested, on.ratio, on)}" for on in d.tasks
    ]
    own = f"Gain {gains(d.champion, d.tested.gain, d.unit, d.digits)} of {d.tested.name}"
    mean = f"Mean over {len(each)} {'families' if d.families else 'tasks'}: {'; '.join(each)}"
    figures = f"{mean if each else own}; {runs(d)}{' on each' if each and not d.families else ''}"
    doubt = f"; {marked(d.trust)}" if marked(d.trust) else ""
    tested = f"one-sided p {tested_p(d.p)}" if d.champion.n > 1 else "one run each cannot show a difference"
    lead = "" if d.holds else f". Difference {difference(d.tested, d.unit, d.digits)}"
    text = f"{result(d, by_how_much(d))}{lead}{not_by_evolution(d)}. {figures}; {tested}{doubt}"
    parts = [text, *(said.removesuffix(".") for said in (origin(d), own_share(d), beside_learnt(d), memory(d)))]
    return ". ".join(filter(None, parts)).replace(MINUS, "-")


def sentences_of(verdict: str, names: Iterable[str | None] = ()) -> list[str]:
    """A recorded verdict (``line``) as its sentences, the headline first, each without its full stop. ``names``: of the
    programs, in which no sentence ends (``lab v2. Big``)."""
    dotted = sorted((re.escape(name) for name in names if name and ". " in name), key=len, reverse=True)
    ends = re.finditer("|".join([*dotted, r"(?<=\S)(?P<end>\. )(?=[A-Z])"]), verdict)
    cuts = [0, *(at for end in ends if end["end"] for at in end.span()), len(verdict)]
    return [text.removesuffix(".") for a, b in zip(cuts[::2], cuts[1::2], strict=True) if (text := verdict[a:b])]


def origin(d: Decision) -> str:
    """What the champion started from and what evolution changed."""
    return d.origin.sentence(compared(d), over_start(d)) if d.origin else ""


def over_start(d: Decision) -> str | None:
    """What the confirmation shows of the changes by evolution: of a lead nothing, because ``own_share`` says it; None
    where it did not run the first program."""
    if d.start is None:
        return None
    if own_share(d):
        return ""
    helps, hurts = (d.start.low or 0) > 0, (d.start.high or 0) < 0
    shows = f"{'shows' if helps or hurts else 'does not show'} that these changes {'hurt' if hurts else 'help'}"
    counted = f"{many(d.champion.n, 'new task' if d.families else 'run')} of the champion and {d.start.gain.n} of"
    apart = "" if d.holds else f", difference {difference(d.start, d.unit, d.digits)}"  # else in the sentence before
    return f"The confirmation {shows} ({counted} {d.start.name}{apart}; the announced test is against {reference(d)})"


def by_how_much(d: Decision) -> str:
    """The difference in a verdict that holds, and the ratio where it is stated (``steady``)."""
    if not d.holds:
        return ""
    ratio = times_of(d.tested).replace(" times as much", f" times as much as {reference(d)}")
    return f" by {difference(d.tested, d.unit, d.digits, signed=False)}{ratio.replace(', ', ' and gains ', 1)}"


def runs(d: Decision) -> str:
    if d.families:
        named = d.families[0] if len(d.families) == 1 else "each"
        return f"{many(d.champion.n, 'new task')} of {named}, intervals over tasks"
    pooled = " of stock's two arms" if d.aa and not d.against_own else ""
    return f"{many(d.champion.n, 'run')} against {d.tested.gain.n}{pooled}"


def remarks(d: Decision, study: str = STUDY) -> list[str]:
    """The texts of all caveats, the most important first."""
    return [caveat.text for caveat in caveats(d, study)]


def notes(d: Decision) -> list[str]:
    """Further figures, none of which is tested."""
    out = []
    if d.holds and times_of(d.tested) and not d.night:
        at = at_least(d.tested.ratio.lower, 95)
        out.append(f"The champion gains {d.tested.ratio.ratio:.2f} times as much as {reference(d)} ({at}).")
    if needed := more_runs(d):
        out.append(needed)
    if d.beside is not None:
        lead = difference(d.beside, d.unit, d.digits)
        out.append(f"Not tested: champion minus stock is {lead}{times_of(d.beside, STOCKS)}.")
    out += [on_task(on.task, d) for on in d.tasks]
    return out + best_scripts(d)


def more_runs(d: Decision) -> str:
    """How many runs of each program show the measured difference with 80% power; empty where it was shown, is no gain,
    or the spread between runs is unknown."""
    ours, theirs = d.champion, d.tested.gain
    if d.state != OPEN or d.tasks or d.night or not ours.se or not theirs.se:
        return ""
    sd = math.sqrt((ours.se**2 * ours.n + theirs.se**2 * theirs.n) / 2)
    needed = runs_needed(d.tested.difference, sd)
    what = "To show a difference as large as the measured one with 80% power"
    return f"{what}, it would take about {count(needed)} runs of each program." if needed and needed <= MOST else ""


def on_task(task: str, d: Decision) -> str:
    """The gains on one of several training tasks, and the scale by which the mean over tasks divides them."""
    on = next(each for each in d.tasks if each.task == task)
    digits, size = interval_decimals(on.low, on.high), number(on.scale, decimals(on.scale))
    what = "stock's gain in the search" if on.of_stock else "a standard deviation between runs"
    ours, theirs = number(on.champion.mean, digits), number(on.tested.mean, digits)
    return (
        f"On {task}, the champion gains {ours} against {theirs} {on.unit} of {reference(d)}"
        f"{times(on.tested, on.ratio, on)}. The mean over {'families' if d.families else 'tasks'} divides them by "
        f"{size} {on.unit}, {what}."
    )


def not_ahead(d: Decision) -> str:
    return f"The champion is not shown to beat {reference(d)}"


def caveats(d: Decision, study: str = STUDY) -> list[Caveat]:
    """Everything that weakens the verdict, worst first, and the differences of stock's two arms."""
    out = []
    if d.state != BETTER and not d.night:
        text = f"The planned test found no significant lead of {d.name} over {reference(d)}."
        if reference_gained_more(d):
            keep = ": keep it" if d.against_own else ""
            text += f" {reference(d)[:1].upper()}{reference(d)[1:]} gained more in these runs{keep}."
        out.append(Caveat("stop", not_ahead(d), text))
    if marked(d.trust):
        out.append(Caveat("stop", "Weak trust", f"The scores are {marked(d.trust)}."))
    if d.simulated:
        formula = "are simulated: formulas give their" if len(d.simulated) > 1 else "is simulated: a formula gives its"
        text = f"{', '.join(d.simulated)} {formula} results. Test the champion on a real task before you rely on it."
        out.append(Caveat("mind", "Nothing was trained", text))
    if d.fresh not in ("", freshness.SPLIT):
        cure = f" To make it verifiable: {listed(d.cures)}." if d.cures else ""
        out.append(Caveat("mind", "Part of the confirmation is not fresh", freshness.SAID[d.fresh] + cure))
    if d.pace and d.pace.other_load:
        out.append(Caveat("mind", OTHER_LOAD, d.pace.other_load))
    if d.same_as:
        out.append(Caveat("note", "Compared with stock", _same(d)))
    if text := first_program(d, study):
        better = d.start is not None and differs(d.start)
        title = "The first program did better" if better else "Not shown to do better than the first program"
        out.append(Caveat("note", title, text))  # the headline has the result
    if d.bare_ratio is not None and _list_alone(d):
        text = (
            f"Without its idea list, the champion {_bare_result(d)} "
            f"(gain {gains(d.bare or Mean(None, None, 0, None, None), d.tested.gain, d.unit, d.digits)})."
            + ("" if d.families or _is_general(d) else f" {SPECIFIC}")
        )
        out.append(Caveat("mind", "The gain may come from the idea list alone", text))
    out += [Caveat("note", AA, aa_text(each)) for each in d.aa]
    return out


def _is_general(d: Decision) -> bool:
    """Whether the list was learnt on other tasks, and not written from the experiments on this one."""
    return d.origin is not None and bool(d.origin.learnt) and (not d.origin.steps or as_good(d) is not None)


def _list_alone(d: Decision) -> bool:
    """Whether the champion without its idea list is not shown to beat what it is tested against."""
    if d.bare_ratio is None or d.bare_ratio.ratio is None:
        return False
    if d.bare_ratio.lower is not None:
        return d.bare_ratio.lower <= 1
    return not (d.bare and shown_larger(d.bare, d.tested.gain))  # a ratio to a gain near 0 has no bound


def _bare_result(d: Decision) -> str:
    """Of the champion without its list, which is not shown to be better."""
    if d.bare is None or d.bare.mean is None or d.bare.mean >= (d.tested.gain.mean or 0.0):
        return f"is not significantly better than {reference(d)}"
    significant = shown_larger(d.tested.gain, d.bare)
    return f"gains less than {reference(d)}{'' if significant else ', though not significantly'}"


def aa_text(aa: ArmsDifference, named: bool = True) -> str:
    """The difference of stock's two arms in a sentence, with its interval. ``named``: with its task."""
    on, digits = f" on {aa.task}" if named and aa.task else "", interval_decimals(aa.low, aa.high)
    size = f"{number(aa.difference, digits, True)} {aa.unit}".rstrip()
    interval_ = "too few runs for an interval" if aa.low is None else f"95% interval {span(aa.low, aa.high, digits)}"
    return f"A/A: two arms of stock{on} differ by {size} ({interval_})."


def _same(d: Decision) -> str:
    if d.same_as == "champion":
        return (
            f"The search found no program better than {d.own}: the champion behaves like it. So the test is against "
            "stock."
        )
    return (
        f"Your program {d.own} behaves like stock: this researcher carries out nothing in it that differs from stock. "
        "So the test is against stock."
    )


def interval(mean: Mean) -> str:
    return "not measured" if mean.mean is None else f"{mean.mean:.4g}{bracket(mean.low, mean.high)}"
