"""Training data for a model that writes programs: what it was asked, what it wrote, and the gain of that.

``sft``: rows of messages. ``dpo``: a prompt with the better and the worse of two answers. TRL and `datasets` read both.
A prompt is either that of a recorded call, or rendered from the evidence of its time, for children of all operators.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from analysis.dataset import ComparedRun, attempts, chat, tasks_of, write_rows, written
from analysis.evidence import evidence
from analysis.evidence_text import page, rendered
from analysis.methods.mutation import SideRun, compare, mutation_credits
from analysis.scope import Scope
from analysis.statistics import bh, interval, t_test
from analysis.study import ledger_folder, read_study
from analysis.tables import statement, typed_rows
from analysis.writing_events import MutationEvent
from inner_loop.models.scrub import scrub
from programs.errors import NotFound

if TYPE_CHECKING:
    import duckdb
    from pydantic import JsonValue

Form = Literal["sft", "dpo"]
Prompts = Literal["recorded", "rendered"]
SPLITS = ("train", "validation")
CARD = "README.md"
SYSTEM = "You improve programs of research: texts that tell a researcher how to search for a better train.py."
#: Keys by their usual forms, beside the values of this machine's environment variables.
_KEYS = re.compile(
    r"\b(?:sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|hf_\w{20,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}"
    r"|xox[abprs]-[\w-]{10,}|glpat-[\w-]{15,})|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)
_TAG = re.compile(r"^<(\w+)(?: name=\"([^\"\n]*)\")?>", re.MULTILINE)


@dataclass(frozen=True)
class Choices:
    """``everything``: also rows whose gain or difference is not significant at ``confidence``."""

    form: Form
    prompts: Prompts = "recorded"
    confidence: float = 0.9
    validation: float = 0.1
    everything: bool = False


@dataclass(frozen=True)
class GainMargin:
    """A difference of verified gains on one task with its 95% interval; ``p`` is two-sided."""

    task: str
    unit: str
    estimate: float
    se: float | None
    low: float | None
    high: float | None
    n: int
    p: float | None
    design: str


@dataclass(frozen=True)
class Child:
    """An accepted child: what its writer was asked, its answer, and its gain over its parents, task by task."""

    study: str
    event: MutationEvent
    child_id: str
    text: str
    parents: tuple[str, ...]  # their texts
    reply: str | None
    gains: tuple[GainMargin, ...]

    @property
    def messages(self) -> list[JsonValue]:
        return chat(self.event, self.reply)

    @property
    def job(self) -> tuple[object, ...]:
        """Equal for answers that could stand for each other: same parents, operator and form of the reply."""
        event, tags = self.event, tuple((tag, name.casefold()) for tag, name in _TAG.findall(self.reply or ""))
        return (self.study, event.generation, event.parent_ids, event.operator, event.repairs, tags)


@dataclass
class Export:
    """Rows with the children that they are about, and how many of what was left out."""

    choices: Choices
    rows: list[tuple[dict[str, JsonValue], tuple[str, ...]]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    links: list[tuple[str, str]] = field(default_factory=list)  # of children that must stay in one split
    sources: list[dict[str, JsonValue]] = field(default_factory=list)
    secrets: int = 0

    def clean(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            text, count = _KEYS.subn("[secret]", scrub(value))
            self.secrets += count
            return text
        if isinstance(value, list):
            return [self.clean(one) for one in value]
        return {key: self.clean(one) for key, one in value.items()} if isinstance(value, dict) else value

    def add(self, row: dict[str, JsonValue], *child_ids: str) -> None:
        self.rows.append((cast("dict[str, JsonValue]", self.clean(cast("JsonValue", row))), child_ids))
        self.links += [(child_ids[0], other) for other in child_ids[1:]]


def export(studies: Sequence[Path], folder: Path, choices: Choices) -> dict[Path, int]:
    """Write ``train.jsonl``, ``validation.jsonl`` and the data card; the number of rows of each file.

    Raises NotFound if no row is left, with the reasons; as read_study; EnvironmentProblem if it cannot write.
    """
    made = Export(choices)
    for study in studies:
        _read(study, made)
    if not made.rows:
        raise NotFound(f"no row of training data: {_reasons(made)}", hint=_hint(choices))
    _with_q(made)
    split = _split(made)
    files = {folder / f"{name}.jsonl": split[name] for name in SPLITS}
    counts = {path: write_rows(path, rows) for path, rows in files.items()}
    card = rendered("training_data.md.j2", made=made, choices=choices, splits={n: len(split[n]) for n in SPLITS},
                  lineages=_lineages(split), example=made.rows[0][0])  # fmt: skip
    (folder / CARD).write_text(card, encoding="utf-8")
    return counts


def _read(study: Path, made: Export) -> None:
    """Add the rows of one study."""
    ledger, choices = ledger_folder(study), made.choices
    with read_study(study, views=()) as con:
        children = list(_children(con, ledger, made))
        with_prompt = [child for child in children if choices.prompts == "rendered" or child.reply is not None]
        made.left_out["written by an offline operator: no call was recorded"] += len(children) - len(with_prompt)
        models = sorted({child.event.model for child in with_prompt if child.event.model})
        made.sources.append(
            {"study": study.name, "tasks": list(tasks_of(con)), "children": len(children), "models": list(models)}
        )
        known = {child.child_id for child in children}
        made.links += [(c.child_id, p) for c in children for p in c.event.parent_ids if p in known]
        prompts = _Prompts(con, choices.prompts)
        if choices.form == "sft":
            _sft(with_prompt, prompts, made)
        else:
            _dpo(con, with_prompt, prompts, made)


def _children(con: duckdb.DuckDBPyConnection, ledger: Path, made: Export) -> Iterator[Child]:
    texts = dict(con.execute("SELECT program_id, text FROM programs").fetchall())
    gains: dict[str, list[GainMargin]] = defaultdict(list)
    planned = con.execute("SELECT match_id FROM matches WHERE purpose = 'ablation'").fetchall()
    for task in tasks_of(con):
        for credit in mutation_credits(Scope(con, task, tuple(match_id for (match_id,) in planned))):
            figures = (credit.estimate, credit.se, credit.low, credit.high, credit.n, credit.p, credit.design)
            gains[credit.child_id].append(GainMargin(task, credit.unit, *figures))
    for event, reply in attempts(written(ledger)):
        child = event.child_id
        if not event.accepted or child is None or child not in texts:
            made.left_out["refused before it ran"] += 1
        elif child not in gains:
            made.left_out["without a verified gain: it or its parents never ran"] += 1
        else:
            parents = tuple(texts[parent] for parent in event.parent_ids if parent in texts)
            name = ledger.parent.name
            yield Child(name, event, child, texts[child], parents, reply, tuple(gains[child]))


class _Prompts:
    """The prompt and the answer of a child, as messages."""

    def __init__(self, con: duckdb.DuckDBPyConnection, kind: Prompts) -> None:
        self._con, self._kind = con, kind
        # matches after the search have no generation, and no writer knew them
        later = con.execute("SELECT match_id FROM matches WHERE purpose NOT IN ('race', 'generation')").fetchall()
        self._later = [match_id for (match_id,) in later]
        self._pages: dict[int, str] = {}

    def of(self, child: Child) -> list[JsonValue]:
        if self._kind == "recorded":
            return child.messages[:-1]
        text = rendered("training_prompt.md.j2", evidence=self._page(child.event.generation), parents=child.parents)
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]

    def answer(self, child: Child) -> JsonValue:
        return said(child.text) if self._kind == "rendered" else child.messages[-1]

    def _page(self, generation: int) -> str:
        """The evidence before a generation."""
        if generation not in self._pages:
            of = {"until_generation": generation - 1, "exclude_matches": self._later}
            pages = (page(evidence(self._con, task, **of)) for task in tasks_of(self._con))  # type: ignore[arg-type]
            self._pages[generation] = "\n".join(pages)
        return self._pages[generation]


def said(text: str) -> JsonValue:
    return {"role": "assistant", "content": text}


def _sft(children: Sequence[Child], prompts: _Prompts, made: Export) -> None:
    for child in children:
        shown = is_shown(child.gains, made.choices.confidence)
        if not shown and not made.choices.everything:
            made.left_out["gain over its parents not significantly positive"] += 1
            continue
        messages = [*prompts.of(child), prompts.answer(child)]
        figures = _figures("gain", child.gains)
        made.add({"messages": messages, **_about(child), **figures, "shown": shown}, child.child_id)


def _dpo(con: duckdb.DuckDBPyConnection, children: Sequence[Child], prompts: _Prompts, made: Export) -> None:
    """Pairs of children that answer the same prompt; with rendered prompts also a child and its only parent."""
    runs: dict[tuple[str, str, str], list[ComparedRun]] = defaultdict(list)
    for run in typed_rows(con.execute(statement("dataset_runs")), ComparedRun):
        runs[run.match_id, run.task, run.program_id].append(run)
    units = {margin.task: margin.unit for child in children for margin in child.gains}
    for group in _groups(children, made).values():
        for one, other in combinations(group, 2):
            margins = _between(runs, units, one.child_id, other.child_id)
            _pair(made, prompts, one, other, margins)
        for child in group if made.choices.prompts == "rendered" else ():
            if len(child.event.parent_ids) == 1 and child.parents:
                _pair(made, prompts, child, None, child.gains)


def _groups(children: Sequence[Child], made: Export) -> dict[tuple[object, ...], list[Child]]:
    """Children that answer the same prompt."""
    groups: dict[tuple[object, ...], list[Child]] = defaultdict(list)
    for child in children:
        if made.choices.prompts == "rendered":
            groups[child.event.generation, child.event.parent_ids].append(child)
        elif child.event.turns:
            made.left_out["with rounds of tools, which no other reply shares"] += 1
        else:
            groups[child.job].append(child)
    if made.choices.prompts == "recorded":
        alone = sum(len(group) == 1 for group in groups.values())
        made.left_out["the only reply of its kind to its parents in its generation"] += alone
    return groups


def _between(
    runs: dict[tuple[str, str, str], list[ComparedRun]], units: dict[str, str], one: str, other: str
) -> tuple[GainMargin, ...]:
    """The difference of two programs in the matches in which both ran, task by task."""
    sides: dict[str, list[SideRun]] = defaultdict(list)
    for (match_id, task, program_id), mine in runs.items():
        theirs = runs.get((match_id, task, other))
        if program_id == one and theirs:
            sides[task] += [SideRun(match_id, r.run_seed, r.program_id == one, r.gain) for r in (*mine, *theirs)]
    margins = []
    for task, both in sides.items():
        if (made := compare(both)) is not None:
            estimate, se, df, n, design = made
            figures = (*interval(estimate, se, df), n, t_test(estimate, se, df), design)
            margins.append(GainMargin(task, units.get(task, ""), estimate, se, *figures))
    return tuple(margins)


def _pair(made: Export, prompts: _Prompts, one: Child, other: Child | None, margins: Sequence[GainMargin]) -> None:
    """A row of two answers, the better one first. ``other`` None: the parent as it was."""
    if not margins:
        made.left_out["pairs that never ran in the same match"] += 1
        return
    worse = tuple(_turned(margin) for margin in margins)
    best, margins = (True, margins) if _total(margins) >= 0 else (False, worse)
    shown = is_shown(margins, made.choices.confidence)
    if not shown and not made.choices.everything:
        made.left_out["pairs whose difference is not significant"] += 1
        return
    mine = prompts.answer(one)
    theirs = prompts.answer(other) if other else said(one.parents[0])
    ids = [one.child_id, other.child_id if other else one.event.parent_ids[0]]
    first = one if best or other is None else other  # whose prompt it is
    prompt = prompts.of(first)
    row = {
        "prompt": prompt,
        "chosen": [mine if best else theirs],
        "rejected": [theirs if best else mine],
        **_about(first),
        "chosen_id": ids[0] if best else ids[1],
        "rejected_id": ids[1] if best else ids[0],
        "same_prompt": other is None or prompt == prompts.of(other if first is one else one),
        **_figures("margin", margins),
        "shown": shown,
    }
    made.add(row, *(c.child_id for c in (one, other) if c is not None))


def is_shown(margins: Sequence[GainMargin], confidence: float) -> bool:
    """Significantly above 0 on a task, and on none below 0: the interval of that confidence excludes 0."""
    significant = any(m.estimate > 0 and m.p is not None and m.p <= 1 - confidence for m in margins)
    return significant and all(m.estimate >= 0 for m in margins)


def _turned(m: GainMargin) -> GainMargin:
    low, high = (None if end is None else -end for end in (m.high, m.low))
    return GainMargin(m.task, m.unit, -m.estimate, m.se, low, high, m.n, m.p, m.design)


def _total(margins: Sequence[GainMargin]) -> float:
    """Its sign says which of two answers is the better one; on several tasks in units of the standard error."""
    if len(margins) == 1:
        return margins[0].estimate
    return math.fsum(m.estimate / m.se if m.se else math.copysign(1.0, m.estimate) for m in margins)


def _about(child: Child) -> dict[str, JsonValue]:
    event = child.event
    return {
        "study": child.study,
        "generation": event.generation,
        "attempt": event.attempt,
        "operator": event.operator,
        "model": event.model,
        "meta_program_id": event.meta_program_id,
        "child_id": child.child_id,
        "parent_ids": list(event.parent_ids),
    }


def _figures(name: str, margins: Sequence[GainMargin]) -> dict[str, JsonValue]:
    """``NAME``, its interval, n and p if there is one task; of several tasks each in the list ``NAMEs``."""
    only = margins[0] if len(margins) == 1 else None
    same = ("n", "p", "q", "design", "unit", "task")
    keys = {name: "estimate", f"{name}_low": "low", f"{name}_high": "high"} | {key: key for key in same}
    flat = {key: getattr(only, of, None) if only else None for key, of in keys.items()}
    return cast("dict[str, JsonValue]", flat | {f"{name}s": [asdict(margin) for margin in margins]})


def _with_q(made: Export) -> None:
    """q-values over all rows of the export that have a p."""
    ps = [cast("float | None", row["p"]) for row, _ in made.rows]
    for (row, _), q in zip(made.rows, bh(ps), strict=True):
        row["q"] = q


def _split(made: Export) -> dict[str, list[dict[str, JsonValue]]]:
    """Rows by split. A lineage, all children that descend from one another or stand in one row, stays together."""
    above: dict[str, str] = {}

    def top(child: str) -> str:
        while above.setdefault(child, child) != child:
            child = above[child]
        return child

    for one, other in made.links:
        first, second = sorted((top(one), top(other)))
        above[second] = first
    lineages: dict[str, list[dict[str, JsonValue]]] = defaultdict(list)
    for row, children in made.rows:
        lineages[top(children[0])].append(row | {"lineage": top(children[0])})
    room = math.ceil(made.choices.validation * len(made.rows)) if len(lineages) > 1 else 0
    split: dict[str, list[dict[str, JsonValue]]] = {name: [] for name in SPLITS}
    for name in sorted(lineages, key=lambda lineage: hashlib.sha256(lineage.encode()).hexdigest()):
        fits = len(split["validation"]) + len(lineages[name]) <= room
        split["validation" if fits else "train"] += lineages[name]
    return split


def _lineages(split: dict[str, list[dict[str, JsonValue]]]) -> dict[str, int]:
    return {name: len({str(row["lineage"]) for row in rows}) for name, rows in split.items()}


def _reasons(made: Export) -> str:
    return "; ".join(f"{count} {reason}" for reason, count in _counted(made.left_out)) or "no child was written"


def _counted(left_out: Counter[str]) -> Iterable[tuple[str, int]]:
    return ((reason, count) for reason, count in left_out.most_common() if count)


def _hint(choices: Choices) -> str:
    ways = [] if choices.everything else ["--all exports rows that are not significant, with their intervals"]
    ways += [] if choices.prompts == "rendered" else ["--prompts rendered exports children of all operators"]
    return "; ".join(ways) or "run more generations: metaloop evolve -m NAME"
