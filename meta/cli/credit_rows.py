"""The rows of ``metaloop credit``: their unit, which of them are shown, and what they say in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypedDict

from analysis.wording import decimals, interval_decimals, listed, many, plain_number, plain_span, plain_text
from meta.cli.output import clean
from meta.cli.render import fit

if TYPE_CHECKING:
    from analysis.verdict.decision import Decision

LEVEL = 0.05  # false discovery rate
EDITS, FEW = 4, 3  # edits in a row that a sentence shows; of more, the first few
# Methods with a row per directive, and how their data choose between runs or experiments with it and without it.
TOGETHER = {"directive": "cited", "factorial": "changed"}
TASKS = 3  # tasks with a conclusion of their own
QUOTED = 70  # characters
HARMFUL = 4  # changes that are named where nothing helped
# What a gain is a part of, where that is not a run's gain.
PART = {
    "edit": "on the untouched script",
    "mutation": "of a run's gain in the search, over its (better) parent",
}
# What a conclusion is about, and its methods from the strongest to the weakest.
ABOUT = (
    ("sentence", ("factorial", "directive")),
    ("change between programs", ("mutation",)),
    ("single edit", ("edit",)),
)


class CreditLine(TypedDict):
    """A row of the view `credit`, with the columns in use."""

    credit_id: str
    task: str
    method: str
    design: str
    causal: bool
    unit: str
    label: str | None
    directive_id: str | None
    child_id: str | None
    estimate: float | None
    se: float | None
    low: float | None
    high: float | None
    n: int
    q: float | None
    runs: int | None


def ordered(rows: Iterable[CreditLine]) -> list[CreditLine]:
    """By method, the largest gain first; rows without one last."""
    return sorted(rows, key=lambda r: (r["method"], r["estimate"] is None, -(r["estimate"] or 0.0), r["credit_id"]))


def significant(row: CreditLine) -> bool:
    """Whether the interval excludes zero and q is below the false discovery rate."""
    low, high, q = row["low"], row["high"], row["q"]
    return q is not None and q < LEVEL and low is not None and high is not None and (low > 0 or high < 0)


def as_contrasts(rows: Sequence[CreditLine]) -> list[CreditLine]:
    """Rows of directives that were always changed together, or exactly the other way round, as one row: they rest on
    one contrast."""
    groups: dict[object, list[CreditLine]] = {}
    for row in rows:
        alike = row["method"] in TOGETHER and row["se"] and row["estimate"]
        size = (f"{abs(row['estimate'] or 0):.9g}", f"{row['se']:.9g}") if alike else (row["credit_id"],)
        groups.setdefault((row["method"], row["task"], row["design"], row["n"], *size), []).append(row)
    return [_together(group) for group in groups.values()]


def _together(rows: Sequence[CreditLine]) -> CreditLine:
    first = rows[0]
    if len(rows) == 1:
        return first
    ways = ["" if (row["estimate"] or 0.0) * (first["estimate"] or 0.0) > 0 else "opposite: " for row in rows]
    lines = [f"{way}{sentence(row['label'] or row['credit_id'])}" for way, row in zip(ways, rows, strict=True)]
    how = "together" if not any(ways) else "together, some the opposite way"
    label = f"{len(rows)} sentences that were always {TOGETHER[first['method']]} {how}: {' | '.join(lines)}"
    return {**first, "label": label}


def shown(rows: Sequence[CreditLine]) -> list[CreditLine]:
    """The significant ones, without what is only observed of a directive that has a planned ablation on the task."""
    planned = {(r["task"], r["directive_id"]) for r in rows if r["method"] == "factorial"}
    return [
        r
        for r in rows
        if significant(r) and (r["method"] != "directive" or (r["task"], r["directive_id"]) not in planned)
    ]


def hidden(rows: Sequence[CreditLine], shown: Sequence[CreditLine]) -> str:
    """A remark on the rows that are left out, none of them significant; empty if there are none."""
    left_out = len(rows) - len(shown)
    why = "not significantly different from zero, or a planned ablation is shown instead (--all shows them)"
    return f"{many(left_out, 'row')} hidden: {why}" if left_out else ""


def sentence(text: str) -> str:
    """The whole text on one line. Of a long list of edits, the first ones and the number of the others."""

    def first(match: re.Match[str]) -> str:
        edits = re.findall("`[^`]+`", match[0])
        return f"{' '.join(edits[:FEW])} and {len(edits) - FEW} more edits"

    setting = re.fullmatch(r"([\w.]+): \{(.*)\}", text)
    if setting:
        text = f"{setting[1]}: " + setting[2].replace('"', "").replace(": ", " ")
    return re.sub(f"`[^`]+`(?:[ ,]+`[^`]+`){{{EDITS},}}", first, " ".join(clean(text).split()))


def conclusions(rows: Sequence[CreditLine]) -> list[str]:
    """The largest significant gain of a sentence and of a program's change, or that there is none, on each task."""
    tasks = list(dict.fromkeys(r["task"] for r in rows))
    out = []
    for task in tasks[:TASKS]:
        own = [r for r in rows if r["task"] == task]
        there = f"On {task}: " if len(tasks) > 1 else ""
        about = [(noun, methods) for noun, methods in ABOUT if any(r["method"] in methods for r in own)]
        edits_alone = len(about) == 1
        out += [there + _largest(noun, methods, own) for noun, methods in about if edits_alone or noun != "single edit"]
    return out + [f"{many(len(tasks) - TASKS, 'more task')}: --json"] * (len(tasks) > TASKS)


def confirmed(d: Decision | None) -> str:
    """What the confirmation showed, which the rows of the search leave out; empty without a decision."""
    if d is None:
        return ""
    from analysis.verdict.verdict import decided

    return plain_text(f"The confirmation, on fresh seeds: {' '.join(decided(d).sentences[:2])}")


def _largest(noun: str, methods: Sequence[str], rows: Sequence[CreditLine]) -> str:
    """Of the strongest method with a significant gain; without one, that nothing helped, and what did harm."""
    known = [r for r in rows if r["method"] in methods]
    clear = [r for r in known if significant(r)]
    for method in methods:
        gains = [r for r in clear if r["method"] == method and (r["estimate"] or 0.0) > 0]
        if gains:
            return _sentence(noun, max(gains, key=lambda r: r["estimate"] or 0.0))
    used = {r["method"] for r in known}
    by = f" by the method {used.pop()}" if len(used) == 1 and len(methods) > 1 else ""
    lost = sorted(clear, key=lambda r: r["estimate"] or 0.0)
    quoted = listed((f'"{_name(r)}" ({_size(r)})' for r in lost), HARMFUL)
    losses = f"{len(lost)} {'has a' if len(lost) == 1 else 'have'} significant loss{'es' * (len(lost) > 1)}"
    harm = f"; {losses}: {quoted}" if lost else ""
    return f"No {noun} has a significant gain{by} (false discovery rate 5%){harm}."


def _name(row: CreditLine) -> str:
    return fit(sentence(row["label"] or row["credit_id"]), QUOTED)


def _size(row: CreditLine) -> str:
    """``-0.32 nats [-0.45 to -0.19]``."""
    digits = interval_decimals(row["low"], row["high"]) or decimals(row["se"])
    interval = plain_span(row["low"], row["high"], digits)
    return f"{plain_number(row['estimate'], digits, sign=True)} {row['unit']} [{interval}]"


def _sentence(noun: str, row: CreditLine) -> str:
    """``The sentence "…" was associated with the largest gain: +0.41 nats [0.30 to 0.52] per experiment …``."""
    cited = f"per experiment that cites it ({row['n']} in {many(row['runs'], 'run')} of the search)"
    about = cited if row["method"] == "directive" else PART.get(row["method"], "of a run's gain")
    verb = "is estimated to cause" if row["causal"] else "was associated with"
    doubt = "" if row["causal"] else " Observational: it may have another cause."
    return f'The {noun} "{_name(row)}" {verb} the largest gain: {_size(row)} {about}.{doubt}'
