"""The result of a night as text: what `main` gained, and what its turns show of the programs."""

from __future__ import annotations

from analysis.decision import BETTER, LEVEL, Decision
from analysis.script_text import drifted, script_gain
from analysis.wording import decimals, listed, many, number, p_text

LEAST_BLOCKS, MANY_BLOCKS = 6, 30  # with fewer no test can be significant; of a night of about 96 experiments
NO_TEST = "so few turns cannot show which program is better"
POWER = "one night does not show which program is better"
#: Of a night of about 96 experiments, by simulation: `python -m bench.nights simulated`.
SEEN = "that a program is three times as good is seen in one night of four"


def headline(d: Decision) -> str:
    """What became of `main`; of the programs only what is shown."""
    better = f"; {d.name} is better than {d.tested.name}" * (d.state == BETTER)
    return f"{of_main(d)}{better}"


def of_main(d: Decision) -> str:
    script = next(iter(d.scripts), None)
    if script is None:
        return "main is the untouched script: no change was kept"
    if (script.low or 0.0) > 0 and not drifted(script):
        whole = ", earlier nights included," * d.continued
        return f"main is better than the untouched script{whole} by {script_gain(script)}"
    return f"main is not shown to be better than the untouched script: {script_gain(script)}"


def line(d: Decision) -> str:
    """The headline, then what each program did."""
    return f"{headline(d)}. {turns(d)}"


def turns(d: Decision) -> str:
    """Who made the kept changes, and what the test says."""
    digits = decimals(min((one.gain for one in d.night if one.gain), default=None))
    each = [
        f"{one.name} made {one.kept} in {many(one.turns, 'turn')} ({number(one.gain, digits, True)} {d.unit})"
        for one in d.night
    ]
    p = f"one-sided p {p_text(d.p, LEVEL)}, {d.name} against {d.tested.name}"
    counts = {one.turns for one in d.night[:2]}
    if d.holds:
        test = f"{d.name} is shown to be better than {d.tested.name} ({p})"
    elif min(counts) < LEAST_BLOCKS or max(counts) > 1.5 * min(counts):
        test = NO_TEST
    else:
        said = f", and {SEEN}" * (min(counts) >= MANY_BLOCKS)
        test = f"{POWER}{said} ({p})"
    return f"Of the kept changes, {listed(each, len(each))}; {test}"
