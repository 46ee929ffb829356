"""What a study found: a table, sentences and caveats, the same on every screen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.found_scripts import script_digits, script_sentence
from analysis.ledger.json_values import read_as
from analysis.statistics import Estimate
from analysis.verdict.caveats import NOTE, caveats
from analysis.verdict.contrast import Contrast, arms_of, contrast
from analysis.verdict.decision import LEVEL, Caveat, Compared, Decision, EarlierRuns, decision_of
from analysis.verdict.power import runs_needed
from analysis.views.tables import rows, statement
from analysis.wording import (
    arm_name,
    clean,
    count,
    decimals,
    duration,
    estimate,
    interval_decimals,
    many,
    number,
    p_text,
    span,
    typical,
)
from programs.common.templates import jinja_environment
from programs.common.text import listed, one_line
from trainer.rows import EXACT
from trainer.trust import weakest

if TYPE_CHECKING:
    import duckdb
    from jinja2 import Template
    from pydantic import JsonValue

TEMPLATES = Path(__file__).parent.parent / "templates"
VIEWS = ("standings", "credit")  # that an open study needs
OVER = (
    "The sentence about a script names the noise of its interval; other intervals are over what the column from counts."
)
INTERVALS = (
    "Intervals of champion minus it allow for skewed gains; that of the champion without its ideas does not (Welch). "
    "The A/A row is the difference of stock's two arms, with an interval that takes their spread as equal (Student)."
)
RACE = "The intervals of the race are wider than these, because they allow for each look at its results."
MOST_SCRIPTS = 3  # sentences about the best train.py of tasks; the table has all
EFFECTS = """
SELECT c.program_id, p.name AS program, method = 'factorial' AS directives, c.unit, c.label, c.estimate, c.low, c.high,
    count(*) OVER () AS n,
    count(*) FILTER (c.significant) OVER () AS significant
FROM credit AS c LEFT JOIN programs AS p USING (program_id)
WHERE CASE WHEN $match IS NULL THEN method = 'leave-one-out' ELSE method = 'factorial' AND match_id = $match END
ORDER BY abs(estimate) DESC LIMIT 1
"""


@dataclass(frozen=True)
class VerdictRow:
    """A program, or a train.py, with its gain and 95% interval from ``n`` runs (``counted``: or seeds, turns, new
    tasks). ``difference``: the champion minus it."""

    program: str
    role: str
    gain: float | None
    low: float | None
    high: float | None
    n: int
    counted: str = "run"
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    kept: int | None = None  # changes, of a turn's program in a night
    unit: str = ""  # where it is not that of the others
    noise: str = ""  # of a train.py: what its interval contains (`FoundScript`); empty: unknown

    @property
    def is_exact(self) -> bool:
        return self.noise == EXACT


@dataclass(frozen=True)
class Verdict:
    """``state``: better (shown), open, or none (nothing was compared). ``sentences``: the headline first."""

    state: str
    unit: str
    digits: int
    reference: str
    rows: tuple[VerdictRow, ...]
    trust: str | None
    runs: int = 0
    experiments: int = 0
    trainings: int = 0  # of planned ablations of runs
    device_seconds: float = 0.0
    decision: Decision | None = None
    contrast: Contrast | None = None
    match_id: str | None = None  # the match that the contrast is of
    ablated: str | None = None  # the program of a planned ablation
    needed: int | None = None  # runs of each program that show the difference with 80% power, where it is not shown
    caveats: tuple[Caveat, ...] = ()
    sentences: tuple[str, ...] = field(default=())

    @property
    def headline(self) -> str:
        """Without its full stop."""
        return self.sentences[0].removesuffix(".")

    @property
    def lead(self) -> str:
        """The difference that was tested, or what `main` of a night gains; empty where it is not shown."""
        if self.contrast and self.contrast.better:
            c = self.contrast
            low, high = sorted(map(abs, (c.lead.low or 0.0, c.lead.high or 0.0)))
            return f"{c.better} by {estimate(abs(c.lead.or_zero), low, high, c.unit, self.digits, signed=False)}"
        d = self.decision
        if d is None or self.state != "better":
            return ""
        if d.night and d.script:
            script = d.script
            gain = estimate(script.gain, script.low, script.high, script.unit, script_digits(script))
            limits = " on the same data" * script.on_same_data + " over seeds alone" * script.leaves_rows_out
            return gain + ", exact" * script.is_exact + limits
        return estimate(d.tested.lead.value, *d.tested.lead.interval(), self.unit, self.digits)

    @property
    def summary(self) -> str:
        """The lead; where none is shown, that it is not; of what compares no two programs the headline."""
        return self.lead or ("not shown" if self.decision or self.contrast else self.headline)

    @property
    def cost(self) -> str:
        """``98 runs, 1,489 experiments, 3 min 01 s of device time spent, verification included``; a log may lack it."""
        done = f"{many(self.runs, 'run')}, {many(self.experiments, 'experiment')}"
        if self.trainings and not self.experiments:
            done = f"{many(self.trainings, 'training')} of an ablation"
        spent = f"{duration(self.device_seconds)} of device time spent"
        spent += ", verification included" if self.experiments else ""
        return f"{done}, {spent}" if self.device_seconds else done

    def record(self) -> dict[str, JsonValue]:
        return asdict(self)

    @property
    def table(self) -> list[dict[str, str]]:
        """Cells by column, those that have values."""
        digits, nights = self.digits, any(row.kept is not None for row in self.rows)
        out = []
        for row in self.rows:
            digits_of = interval_decimals(row.low, row.high, digits)
            apart = estimate(row.difference, row.difference_low, row.difference_high, digits=digits)
            out.append({
                "program": row.program, "role": row.role,
                f"gain, {self.unit}": f"{number(row.gain, digits_of)}{row.unit and ' ' + row.unit}",
                "95% interval": span(row.low, row.high, digits_of) if row.low is not None else EXACT * row.is_exact,
                "from": many(row.n, row.counted),
                **({"turns kept": "" if row.kept is None else count(row.kept)} if nights else {}),
                "champion minus it": apart if row.difference is not None else "",
            })  # fmt: skip
        return [{key: row[key] for key in row if any(record[key] for record in out)} for row in out]

    @property
    def note(self) -> str:
        """What the intervals of a decision's table are over, and which are of another kind."""
        if self.decision is None:
            return ""
        return f"{OVER} {INTERVALS}" if self.decision.aa or self.decision.bare else OVER

    @property
    def text(self) -> str:
        """The table, the headline with its caveats, the other sentences as plain text, for a commit message."""
        parts = [aligned(self.table), self.sentences[0], *self.warnings, *self.sentences[1:]]
        return "\n\n".join(filter(None, parts))

    @property
    def warnings(self) -> list[str]:
        """The caveats that weaken it, with their titles."""
        return [f"{caveat.title}. {caveat.text}" for caveat in self.caveats if caveat.level != NOTE]

    @property
    def doubts(self) -> list[str]:
        """The titles of the caveats that weaken it."""
        return [caveat.title for caveat in self.caveats if caveat.level != NOTE]

    @property
    def badge(self) -> str:
        """Whether its headline is shown, in two words; empty where nothing is tested."""
        script = next(iter(self.decision.scripts), None) if self.decision and self.decision.night else None
        if self.state == "better":
            if script and script.is_exact:
                return "exact"
            if script and script.leaves_rows_out:
                return "significant over seeds alone"
            return "significant on the same data" if script and script.on_same_data else "significant"
        if self.state == "open":
            return "not known on other data" if script and script.has_unknown_noise else "not significant"
        return ""


def aligned(table: Sequence[dict[str, str]]) -> str:
    """Cells in columns, two blanks apart; figures to the right."""
    if not table:
        return ""
    lines = [{key: key for key in table[0]}, *table]
    widths = {key: max(len(line[key]) for line in lines) for key in table[0]}
    aside = {key for key in table[0] if key.startswith("gain") or key in ("from", "kept")}
    return "\n".join(
        "  ".join(line[key].rjust(w) if key in aside else line[key].ljust(w) for key, w in widths.items()).rstrip()
        for line in lines
    )


def verdict_of(con: duckdb.DuckDBPyConnection, decision: Decision | None = None) -> Verdict:
    """Of an open study with VIEWS. ``decision``: where it is not in the ledger yet."""
    (facts,) = rows(con.execute(statement("verdict/verdict")))
    event = facts["champion"] or {}
    d = decision or (decision_of(event) if "decision" in event else None)
    found = decided(d) if d else _announced(con, _of_match(con, facts))
    known = {key: facts[key] for key in ("runs", "experiments", "trainings")} | {"device_seconds": seconds_spent(con)}
    return replace(found, **known, caveats=caveats(con, decision))


def seconds_spent(con: duckdb.DuckDBPyConnection) -> float:
    """The device-seconds that a study took on this machine so far, with verification, checks and ablations."""
    [(seconds,)] = con.execute("SELECT sum(spent_seconds ORDER BY paid_by, what, times) FROM device_time()").fetchall()
    return float(seconds)


def decided(d: Decision) -> Verdict:
    """Of a decision alone, without what the study cost and its caveats."""
    state = "better" if d.holds or (d.night and d.script) else "open"
    shown = tuple(of_decision(d))
    announced = (d.script if d.night else None) or d.tested.lead
    digits = interval_decimals(announced.low, announced.high)
    found = Verdict(state, d.unit, digits, reference_of(d), shown, d.trust, decision=d,
                    needed=runs_of_each(d), caveats=d.caveats)  # fmt: skip
    return _with_sentences(found, d=d)


def runs_of_each(d: Decision) -> int | None:
    """None where the difference is shown, is no gain, or the spread between runs is unknown."""
    return None if d.holds or d.tasks or d.night else runs_to_show(d.champion, d.tested)


def runs_to_show(ours: Estimate, other: Compared) -> int | None:
    """Runs of each program with which a champion's difference to another is seen with 80% power; None where it is no
    gain, or the spread between runs is unknown."""
    if not ours.se or not other.gain.se:
        return None
    sd = math.sqrt((ours.se**2 * ours.n + other.gain.se**2 * other.gain.n) / 2)
    return runs_needed(other.lead.or_zero, sd)


def _of_match(con: duckdb.DuckDBPyConnection, facts: Mapping[str, Any]) -> Verdict:
    """Of a study without a champion: a match, a planned ablation, or runs alone."""
    ablation = facts["purpose"] == "ablation" or (facts["replayed"] and not facts["match_id"])
    effects = next(iter(rows(con.execute(EFFECTS, {"match": facts["match_id"]}))), None) if ablation else None
    arms = arms_of(con, facts["match_id"]) if facts["match_id"] and facts["compares"] and not ablation else None
    against = contrast(arms, read_as(list[EarlierRuns], facts["added"] or [])) if arms else None
    board = () if ablation else tuple(of_board(con, facts["match_id"]))
    digits, state = board_digits(board), "none"
    if effects:
        digits, state = (
            interval_decimals(effects["low"], effects["high"]),
            "better" if effects["significant"] else "open",
        )
    if against:
        digits, state = interval_decimals(*against.lead.interval()), "better" if against.lead.is_shown else "open"
    unit = (effects or facts)["unit"] or ""
    found = Verdict(state, unit, digits, "", board, weakest(facts["trust"] or []), contrast=against,
                    match_id=facts["match_id"],
                    ablated=effects["program_id"] if effects else None,
                    needed=against.needed if against else None)  # fmt: skip
    return _with_sentences(found, contrast=against, effects=effects, facts=facts)


def _announced(con: duckdb.DuckDBPyConnection, found: Verdict) -> Verdict:
    """With what a contest's race decided in place of what its last match shows."""
    query = "SELECT record ->> 'headline', record ->> 'outcome', record ->> 'closed_early', record -> 'race' -> 'looks'"
    row = con.execute(f"{query} FROM events WHERE kind = 'announcement' ORDER BY place DESC LIMIT 1").fetchone()
    if row is None or not row[0]:
        return found
    state = "open" if row[1] == "none" else "better"
    more = [f"Closed early by the host: {clean(row[2])}."] if row[2] else []
    more += [RACE] if len(json.loads(row[3] or "[]")) > 1 else []
    return replace(found, state=state, sentences=(f"{clean(row[0])}.", *more, *found.sentences[1:]))


def _with_sentences(found: Verdict, **parts: Any) -> Verdict:
    text = template().render(
        v=found, level=LEVEL, most_scripts=MOST_SCRIPTS, **{"d": None, "contrast": None, "effects": None} | parts
    )
    lines = tuple(clean(line) for line in text.splitlines() if line.strip())
    shown = (
        replace(row, **{key: clean(getattr(row, key)) for key in ("program", "role", "unit")}) for row in found.rows
    )
    return replace(found, sentences=lines, rows=tuple(shown), unit=clean(found.unit))


def reference_of(d: Decision) -> str:
    if not d.against_own:
        return d.tested.name
    return "your program" if d.own == "program" else f"your program {d.own}"


def of_decision(d: Decision) -> Iterator[VerdictRow]:
    """The champion, what it is compared with, stock's two arms, and the best train.py."""

    def other(one: Compared, role: str) -> VerdictRow:
        return VerdictRow(
            one.name or "with learnt ideas",
            role,
            *_mean(one.gain),
            "run",
            one.lead.value,
            *one.lead.interval(),
        )

    if d.night:
        yield from scripts_of(d)
        for part in d.night:
            yield VerdictRow(part.name, "", part.gain, None, None, part.turns, "turn", kept=part.kept)
        return
    yield VerdictRow(d.name, "champion", *_mean(d.champion), "run")
    yield other(d.tested, "your program" if d.against_own else "stock")
    if d.start and d.start.name != d.tested.name:
        yield other(d.start, "start")
    if d.learnt:
        yield other(d.learnt, "learnt elsewhere")
    if d.bare and d.bare.n:
        lead = Estimate() if d.tasks else d.champion.minus(d.bare)
        yield VerdictRow(f"{d.name} without ideas", "", *_mean(d.bare), "run", lead.value, *lead.interval())
    if d.beside:
        yield other(d.beside, "stock")
    for on_task in d.tasks:
        yield VerdictRow(d.name, f"on {on_task.task}", *_mean(on_task.champion), "run", unit=on_task.unit)
        yield VerdictRow(d.tested.name, f"on {on_task.task}", *_mean(on_task.tested), "run", unit=on_task.unit)
    for aa in d.aa:
        where = f", {aa.task}" * bool(d.tasks)
        unit = aa.unit * (aa.unit != d.unit)
        mean = _mean(aa.lead)
        yield VerdictRow(f"stock (A/A{where}) minus stock", "", *mean, "run", unit=unit)
    yield from scripts_of(d)


def scripts_of(d: Decision) -> Iterator[VerdictRow]:
    """The best train.py of each task; of a night, `main`."""
    for script in d.scripts:
        where = f" on {script.task}" * bool(d.tasks)
        mean = (script.gain, script.low, script.high, script.n)
        unit = script.unit * (script.unit != d.unit)
        name, counted = "main" if d.night else f"best train.py{where}", "seed" if script.seeded else "training"
        yield VerdictRow(name, "", *mean, counted, unit=unit, noise=script.noise)


def _mean(mean: Estimate) -> tuple[float | None, float | None, float | None, int]:
    return mean.value, *mean.interval(), mean.n


def of_board(con: duckdb.DuckDBPyConnection, match_id: str | None) -> Iterator[VerdictRow]:
    """The arms of a match, best first."""
    found = con.execute(
        "SELECT coalesce(name, program_id) AS name, role, gain, low, high, n FROM standings "
        "WHERE match_id = $1 AND gain IS NOT NULL ORDER BY gain DESC, arm_id", [match_id],
    ).fetchall()  # fmt: skip
    for name, role, gain, low, high, n in found:
        role_shown = role if role in ("control", "one-line") else ""
        yield VerdictRow(arm_name(name, role), role_shown, gain, low, high, n)


def board_digits(board: Sequence[VerdictRow]) -> int:
    return decimals(typical((row.high - row.low) / 4 for row in board if row.low is not None and row.high is not None))


@cache
def template() -> Template:
    environment = jinja_environment(TEMPLATES)
    shown: dict[str, Callable[..., str | int]] = {
        "number": number, "many": many, "p": p_text, "count": count, "digits": interval_decimals,
        "estimate": estimate, "listed": listed, "one_line": one_line, "sentence": script_sentence,
    }  # fmt: skip
    environment.filters |= shown
    return environment.get_template("verdict.j2")
