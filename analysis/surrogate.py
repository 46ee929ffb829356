"""A model that predicts a program's gain from its charter and directives, and its skill in this study.

A network with one small hidden layer and a linear path (torch), fitted with weight decay to the gains of the programs
that ran, each weighted by its precision. Its skill is measured on held-out programs: whole lineages if there are enough
of them, else one fold of five. The measure is Spearman's rank correlation
of predicted and measured gains; its interval is by Fisher's z with the variance of Fieller, Hartley and Pearson (1957),
1.06 / (n - 3), which assumes independent programs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.evidence import evidence
from analysis.statistics import between_variance
from programs.charter import PROPOSERS, Charter
from programs.program import Program

if TYPE_CHECKING:
    import duckdb
    from torch import Tensor

LEAST_PROGRAMS = 10
LEAST_LINEAGES = 4
FOLDS = 5
HIDDEN, STEPS, RATE, DECAY, LASSO = 8, 120, 0.05, 0.05, 0.005
Z = 1.959963984540054


@dataclass(frozen=True)
class ProgramGain:
    """A program that ran: its gain with se, and the starter at the root of its line of first parents."""

    program: Program
    gain: float
    se: float
    root: str


@dataclass(frozen=True)
class Skill:
    """The skill of the surrogate on held-out programs. ``correlation`` is None if too few programs ran."""

    task: str
    programs: int
    held_out: str  # lineages or folds
    parts: int
    correlation: float | None
    low: float | None
    high: float | None

    @property
    def beats_chance(self) -> bool:
        return self.low is not None and self.low > 0


@dataclass(frozen=True)
class HeldOutProgram:
    """One held-out program."""

    program_id: str
    name: str
    predicted: float
    gain: float


def known_programs(con: duckdb.DuckDBPyConnection, task: str, exclude_matches: Sequence[str] = ()) -> list[ProgramGain]:
    """The programs of an open study that ran on ``task``, in the order of their ids."""
    made = {p: (name, text) for p, name, text in con.execute("SELECT program_id, name, text FROM programs").fetchall()}
    parents: dict[str, list[str]] = dict(con.execute("SELECT program_id, parent_ids FROM programs").fetchall())
    out = []
    for score in evidence(con, task, exclude_matches=exclude_matches).programs:
        name, text = made[score.program_id]
        root = _root(score.program_id, parents)
        out.append(ProgramGain(Program.parse(text, name), score.mean, score.se, root))
    return sorted(out, key=lambda k: k.program.program_id)


def skill(task: str, known: Sequence[ProgramGain]) -> tuple[Skill, list[HeldOutProgram]]:
    """Rank correlation on held-out programs, and the prediction of each. Deterministic for the same rows."""
    roots = sorted({k.root for k in known})
    by_lineage = len(roots) >= LEAST_LINEAGES
    part = [roots.index(k.root) if by_lineage else i % FOLDS for i, k in enumerate(known)]
    parts = len(set(part))
    how = "lineages" if by_lineage else "folds"
    if len(known) < LEAST_PROGRAMS:
        return Skill(task, len(known), how, parts, None, None, None), []
    held: list[HeldOutProgram] = []
    for number in sorted(set(part)):
        predict = fit([k for k, p in zip(known, part, strict=True) if p != number])
        for k in (k for k, p in zip(known, part, strict=True) if p == number):
            held.append(HeldOutProgram(k.program.program_id, k.program.name, predict(k.program), k.gain))
    correlation = rank_correlation([h.predicted for h in held], [h.gain for h in held])
    if correlation is None:
        return Skill(task, len(known), how, parts, None, None, None), held
    z, half = math.atanh(max(-0.999999, min(0.999999, correlation))), Z * math.sqrt(1.06 / (len(held) - 3))
    return Skill(task, len(known), how, parts, correlation, math.tanh(z - half), math.tanh(z + half)), held


def fit(known: Sequence[ProgramGain]) -> Callable[[Program], float]:
    """A function that predicts a program's gain in metric units. Inputs: features that at least two programs share."""
    import torch

    rows = [features(k.program) for k in known]
    counts = Counter(name for row in rows for name in row)
    names = sorted(name for name, count in counts.items() if count > 1)
    data = torch.tensor([[row.get(name, 0.0) for name in names] for row in rows], dtype=torch.float64)
    gains = torch.tensor([k.gain for k in known], dtype=torch.float64)
    middle, spread = data.mean(0), data.std(0).clamp_min(1e-6)
    centre, scale = gains.mean(), gains.std().clamp_min(1e-9)
    forward = _fitted((data - middle) / spread, (gains - centre) / scale, _weights(known))

    def predict(program: Program) -> float:
        row = features(program)
        one = torch.tensor([[row.get(name, 0.0) for name in names]], dtype=torch.float64)
        return float(forward((one - middle) / spread)[0] * scale + centre)

    return predict


def _fitted(data: Tensor, target: Tensor, weights: Tensor) -> Callable[[Tensor], Tensor]:
    """Weighted least squares by Adam from a fixed start."""
    import torch

    rng = torch.Generator().manual_seed(1)
    width = data.shape[1]
    straight = torch.zeros(width, dtype=torch.float64, requires_grad=True)
    inner = (torch.randn(width, HIDDEN, generator=rng, dtype=torch.float64) / math.sqrt(max(width, 1))).requires_grad_()
    outer = torch.zeros(HIDDEN, dtype=torch.float64, requires_grad=True)

    def forward(x: Tensor) -> Tensor:
        return x @ straight + torch.tanh(x @ inner) @ outer

    optimizer = torch.optim.AdamW([straight, inner, outer], lr=RATE, weight_decay=DECAY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are small: more threads only wait for each other
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (weights * (forward(data) - target) ** 2).mean()
        loss = loss + LASSO * (straight.abs().sum() + outer.abs().sum())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    torch.set_num_threads(threads)

    def plain(x: Tensor) -> Tensor:
        with torch.no_grad():
            return forward(x)

    return plain


def _weights(known: Sequence[ProgramGain]) -> Tensor:
    import torch

    variances = [k.se**2 or 1e-12 for k in known]
    between = between_variance([k.gain for k in known], variances) if len(known) > 1 else 0.0
    weights = torch.tensor([1.0 / (v + between) for v in variances], dtype=torch.float64)
    return weights / weights.mean()


def features(program: Program) -> dict[str, float]:
    """The charter in numbers, its phases by their lengths; each edit named by the ideas, by position; each other
    directive."""
    inputs: dict[str, float] = {}
    begin = 0.0
    for until, charter in program.charter.by_phase():
        for name, value in _settings(charter).items():
            inputs[name] = inputs.get(name, 0.0) + (until - begin) * value
        begin = until
    inputs |= {"words": math.log1p(program.words), "ideas": math.log1p(len(program.ideas))}
    for index, idea in enumerate(program.ideas):
        for term in idea.terms:
            inputs.setdefault(f"idea {term.casefold()}", 1.0 / (1 + index))
    inputs |= {f"says {d.directive_id}": 1.0 for d in program.directives if d.kind in ("item", "paragraph")}
    return {name: value for name, value in inputs.items() if value}


def _settings(charter: Charter) -> dict[str, float]:
    total = sum(charter.proposers.values())
    inputs = {f"proposer {name}": charter.proposers.get(name, 0.0) / total for name in PROPOSERS.built_in}
    return inputs | {
        "keep margin": charter.keep.margin if charter.keep.rule == "margin" else 0.0,
        "keep paired": float(charter.keep.rule == "paired"),
        "replicates": math.log(charter.replicates),
        "screen": -math.log(charter.screen.fraction),
        "wave": math.log(charter.wave),
        "promote": charter.screen.promote if charter.screen.fraction < 1 else 0.0,
        "frontier": math.log(charter.branch.frontier),
        "rewind": float(charter.branch.rewind_after > 0),
        "confirm": charter.confirm,
        "no repeat": float(charter.no_repeat),
        "focus": float(bool(charter.focus)),
        "avoid failures": float(charter.avoid_failures),
    }


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None if one side is constant."""
    from scipy.stats import rankdata

    a, b = (rankdata(values) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else None


def _root(program_id: str, parents: Mapping[str, Sequence[str]]) -> str:
    seen: set[str] = set()
    while (above := parents.get(program_id)) and program_id not in seen:
        seen.add(program_id)
        program_id = above[0]
    return program_id
