"""The evidence: what a study knows about one task, as data for mutators and as a page of facts to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.attribution import found
from analysis.credit import DirectiveCredit, EditCredit, Estimate, MutationCredit, NeverFollowed, Value
from analysis.scales import Scale
from analysis.scope import Scope
from analysis.statistics import mean_interval, posterior
from analysis.trust import marked, weakest
from programs.text import one_line

if TYPE_CHECKING:
    import duckdb

    from analysis.edit_effects import Effects

__all__ = [
    "DirectiveCredit", "EditCredit", "Evidence", "MutationCredit", "NeverFollowed", "ProgramScore", "Value", "Waste",
    "evidence", "page",
]  # fmt: skip

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 40  # rows of one section of the page; the rest is counted, not listed


@dataclass(frozen=True)
class ProgramScore:
    """A program's verified gain over all its comparable runs (same task, budget, hardware class), in metric units."""

    program_id: str
    name: str
    task: str
    mean: float
    se: float  # over runs, moderated by the spread of all programs' runs
    n: int
    shrunk_mean: float  # posterior against all programs of the study: what selection goes by
    shrunk_se: float
    low: float | None  # two-sided 95% t interval of the mean
    high: float | None
    claimed: float | None  # mean of what its runs claimed; never ranks
    words: int | None
    generation: int | None
    tasks: tuple[ProgramScore, ...] = ()  # of a score over several tasks: those that it is the mean of, in one unit


@dataclass(frozen=True)
class Waste:
    """Device-seconds that could not earn anything."""

    reason: str  # failed, repeated, forfeited
    label: str
    n: int
    runs: int
    device_seconds: float


@dataclass(frozen=True)
class Evidence:
    """All that a mutator may know of a task; each tuple in falling order of what it is worth."""

    task: str
    unit: str
    edits: tuple[EditCredit, ...]
    directives: tuple[DirectiveCredit, ...]
    mutations: tuple[MutationCredit, ...]
    programs: tuple[ProgramScore, ...]
    never_followed: tuple[NeverFollowed, ...]
    wasted: tuple[Waste, ...]
    runs: int
    experiments: int
    device_seconds: float
    trust: str | None = None  # the weakest of what it rests on
    effects: Effects | None = None  # the model of the experiments, for bundles; None over several tasks
    parts: tuple[Evidence, ...] = ()  # of evidence over several tasks: that of each, in the common unit
    scale: Scale | None = None  # of such a part: what its gains were divided by


def evidence(
    con: duckdb.DuckDBPyConnection,
    task: str,
    *,
    exclude_matches: Sequence[str] = (),
    until_generation: int | None = None,
) -> Evidence:
    """What an open study knows about ``task``, without the matches named and those of later generations.

    Planned ablations are left out, too: they are about one program, and may be asked for while the search is still on;
    what breeds next must not depend on that. Nothing is read from the computed views: ``open_study(path, views=())``.
    """
    left_out = "SELECT match_id FROM matches WHERE purpose = 'ablation' OR generation > ?"
    later = con.execute(left_out, [until_generation]).fetchall()
    scope = Scope(con, task, (*exclude_matches, *(match_id for (match_id,) in later)))
    known = found(scope)
    [total] = scope.rows("totals")
    return Evidence(
        task=task,
        unit=scope.unit,
        edits=tuple(known.edits),
        directives=tuple(known.directives),
        mutations=tuple(known.mutations),
        programs=tuple(program_scores(scope)),
        never_followed=tuple(known.never_followed),
        wasted=tuple(Waste(**row) for row in scope.rows("wasted")),
        runs=total["runs"],
        experiments=total["experiments"],
        device_seconds=total["device_seconds"],
        trust=weakest(total["trusts"] or ()),
        effects=known.effects,
    )


def program_scores(scope: Scope) -> list[ProgramScore]:
    """Every program with a verified run, best posterior first."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in scope.rows("program_runs"):
        runs[run["program_id"]].append(run)
    means = {program_id: mean_interval([run["gain"] for run in mine]) for program_id, mine in runs.items()}
    scores = posterior([m.mean or 0.0 for m in means.values()], [m.se for m in means.values()],
                       [m.n for m in means.values()])  # fmt: skip
    table = []
    for (program_id, mean), score in zip(means.items(), scores, strict=True):
        first = runs[program_id][0]
        claims = [run["claimed"] for run in runs[program_id] if run["claimed"] is not None]
        table.append(ProgramScore(
            program_id=program_id, name=first["name"], task=scope.task, mean=score.mean, se=score.se, n=score.n,
            shrunk_mean=score.shrunk_mean, shrunk_se=score.shrunk_se, low=mean.low, high=mean.high,
            claimed=sum(claims) / len(claims) if claims else None, words=first["words"],
            generation=first["generation"],
        ))  # fmt: skip
    return sorted(table, key=lambda s: (-s.shrunk_mean, -s.mean, s.program_id))


def page(facts: Evidence) -> str:
    """The evidence as markdown: facts with id, design, interval, n; causal words for randomised and paired ones only.

    Texts of programs are quoted as one short line of inline code each: they are data, whatever they say. Over several
    tasks: what they have in common first, then the page of each.
    """
    if facts.parts:
        from analysis.evidence_over import sections

        whole = _render("evidence.several.md.j2", facts=facts, shown=SHOWN // 2, **sections(facts))
        return "\n".join([whole.rstrip("\n") + "\n", *(page(part) for part in facts.parts)])
    return _render("evidence.md.j2", facts=facts, shown=SHOWN)


def _render(template: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters.update(number=number, signed=signed, fact=fact, quoted=quoted, marked=marked, scale=told_scale)
    return environment.get_template(template).render(**values)


def number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def told_scale(scale: Scale) -> str:
    size = f"{number(scale.size)} {scale.unit} on {scale.task}"
    return size if scale.of_stock else f"{size} (a standard deviation between runs, stock is not shown to gain there)"


def signed(value: float) -> str:
    return f"{value:+.3g}"


def fact(item: Estimate) -> str:
    """``+0.12 nats, 95% 0.08 to 0.16, n=14, randomised, q=0.001``."""
    parts = [f"{signed(item.estimate)} {item.unit}"]
    known = item.low is not None and item.high is not None
    parts.append(f"95% {signed(item.low or 0.0)} to {signed(item.high or 0.0)}" if known else "no interval (one run)")
    parts += [f"n={item.n}", item.design]
    return ", ".join(parts + ([f"q={item.q:.2g}"] if item.q is not None else []))


def quoted(text: str, limit: int = 160) -> str:
    """A program's own words as one line of inline code, whatever they hold."""
    line = one_line(text.replace("`", "'"))
    return f"`{line if len(line) <= limit else line[: limit - 1] + '…'}`"
