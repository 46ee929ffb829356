"""Two studies side by side: how far their champions differ, in gain and in text, and their settings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from analysis.statistics import interval, mean_interval, welch_difference
from analysis.wording import interval_decimals, listed, many, plain_number, plain_span, short
from meta.cli.standings import named
from programs.diff import moved
from programs.program import Program

if TYPE_CHECKING:
    from meta.cli.board import ArmView, MatchView, StudyView
    from meta.cli.output import Row

LONGEST, MOST_PARTS = 120, 40  # characters of a value, entries of a table that is taken apart
SHORT_DIFF = 24  # lines; of a longer one the counts
NO_SETTINGS = ("created_at", "text_hash", "schema", "secret", "programs", "ledger", "seed")  # and ids
NONE = "–"
SAME_IN_BOTH = (  # what the gains depend on: key of a match's record, its words
    ("task_id", "the task"),
    ("run_budget", "the run budget"),
    ("unit", "the unit of the gain"),
    ("fixed_steps", "training by fixed steps"),
    ("hardware_class", "the hardware"),
    ("researcher", "the researcher"),
    ("models", "the models"),
)
SIGN = "A difference is the second study's gain minus the first's: above 0, the second is better."
OWN_DATA = "Each study has its own seeds and data, and the intervals are over runs only."
OF_LEADS = "A lead is a champion's gain minus stock's in the same study, without what data and machine add to both."
OF_STOCK = "Stock is the same program in both studies, so its difference comes from seeds, data and machine alone."


@dataclass(frozen=True)
class ComparedStudy:
    name: str
    board: StudyView


@dataclass(frozen=True)
class GainDifference:
    """The mean verified gain of the second study's program minus that of the first study's, on one task; 95% interval
    by Welch, over the runs of the matches that decide the verdicts. ``first``, ``second``: program and study."""

    task: str
    unit: str
    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    runs: tuple[int, int]
    stock_runs: tuple[int, int] | None = None  # of a difference of leads over stock

    @property
    def result(self) -> str:
        if self.low is None or self.high is None:
            return "too few runs for an interval"
        return "not distinguishable" if self.low <= 0 <= self.high else "significantly different"

    @property
    def sentence(self) -> str:
        digits = interval_decimals(self.low, self.high)
        size = f"{plain_number(self.difference, digits, sign=True)} {self.unit}".rstrip()
        within = f", 95% interval {plain_span(self.low, self.high, digits)}" if self.low is not None else ""
        runs = f"{self.runs[1]} and {self.runs[0]} runs"
        runs += f", {self.stock_runs[1]} and {self.stock_runs[0]} of stock" if self.stock_runs else ""
        return f"On {self.task}: {self.second} minus {self.first}: {size}{within} ({runs}): {self.result}."


@dataclass(frozen=True)
class ComparedChampions:
    """``differences``: of the champions, one for each task of both; ``stock``: the same of stock; ``leads``: of the
    champions' leads over stock; ``not_compared``: why there is no difference, for each task; ``names``: where a
    champion also ran in the other study by another name."""

    differences: tuple[GainDifference, ...] = ()
    stock: tuple[GainDifference, ...] = ()
    not_compared: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    leads: tuple[GainDifference, ...] = ()

    @property
    def sentences(self) -> list[str]:
        shown = [each.sentence for each in (*self.differences, *self.stock, *self.leads)]
        why = [f"Not compared: {why}." for why in self.not_compared]
        return [*why, *shown, *self.names, *filter(None, [self.about])]

    @property
    def about(self) -> str:
        """What the intervals do not include; empty without any."""
        return " ".join(
            [SIGN, OWN_DATA] * bool(self.differences) + [OF_STOCK] * bool(self.stock) + [OF_LEADS] * bool(self.leads)
        )


def champions(first: ComparedStudy, second: ComparedStudy) -> ComparedChampions:
    """The difference of the champions' verified gains on each task of both studies, where it can be known."""
    names = tuple(other_names(first, second))
    without = [one.name for one in (first, second) if one.board.decision is None]
    if without:
        return ComparedChampions(not_compared=tuple(f"{name} has no verdict" for name in without), names=names)
    ours, theirs = ({str(m.event.get("task")): m for m in one.board.deciding} for one in (first, second))
    shared = [task for task in ours if task in theirs]
    if not shared:
        both = " and ".join(listed(tasks) for tasks in (ours, theirs))
        return ComparedChampions(not_compared=(f"the studies have no task in common ({both})",), names=names)
    differences, stock, leads, not_compared = [], [], [], []
    for task in shared:
        pair = (first, ours[task]), (second, theirs[task])
        if why := differing(*pair):
            not_compared.append(f"on {task}, {why}")
            continue
        differences += _difference(*pair, "champion")
        stock += _difference(*pair, "control")
        leads += _lead_difference(*pair)
    return ComparedChampions(tuple(differences), tuple(stock), tuple(not_compared), names, tuple(leads))


def other_names(first: ComparedStudy, second: ComparedStudy) -> Iterator[str]:
    """Where the champion of one study is a program of the other by another name."""
    said = set()
    for own, other in ((first, second), (second, first)):
        champion = (own.board.champion or {}).get("program_id") or ""
        if champion in other.board.programs and champion not in said:
            said.add(champion)
            here, there = own.board.name(champion), other.board.name(champion)
            if here != there:
                yield f"{here}, the champion of {own.name}, is the same program as {there} of {other.name}."


def differing(*pair: tuple[ComparedStudy, MatchView]) -> str:
    """Why the gains of two matches are not comparable; empty where they are."""
    known = [conditions(study.board, match) for study, match in pair]
    shown = [
        f"{words} differs ({known[0][key] or NONE} and {known[1][key] or NONE})"
        for key, words in SAME_IN_BOTH
        if known[0][key] != known[1][key]
    ]
    return "; ".join(shown)


def conditions(board: StudyView, match: MatchView) -> dict[str, str]:
    config = cast("Mapping[str, Any]", board.config)
    event = cast("Mapping[str, Any]", match.event)
    known = {**config, **(event.get("config") or {}), **event}
    models = (config.get("staff") or {}).get("models") or ()
    known |= {"models": ", ".join(models), "run_budget": f"{event.get('run_budget') or 0:g}s"}
    return {key: str("" if known.get(key) is None else known[key]) for key, _ in SAME_IN_BOTH}


def _difference(
    first: tuple[ComparedStudy, MatchView], second: tuple[ComparedStudy, MatchView], role: str
) -> list[GainDifference]:
    """Of the arms of this role; none for two controls that are different programs, or without runs."""
    one, other = (arm_of(match, role) for _, match in (first, second))
    if one is None or other is None or (role == "control" and one.program_id != other.program_id):
        return []
    gains, names, both = [], [], ((first, one), (second, other))
    alike = one.program_id != other.program_id and len({pair[0].board.name(a.program_id) for pair, a in both}) == 1
    for (study, match), arm in both:
        gains.append(counted(match, arm.program_id))
        identity = f" ({short(arm.program_id)})" * alike  # one name, two texts
        names.append(f"{study.board.name(arm.program_id)}{identity} of {study.name}")
    difference, se, df = welch_difference(gains[1], gains[0])
    if difference is None:
        return []
    task, unit = str(first[1].event.get("task")), conditions(first[0].board, first[1])["unit"]
    runs = len(gains[0]), len(gains[1])
    return [GainDifference(task, unit, names[0], names[1], difference, *interval(difference, se, df), runs)]


def _lead_difference(
    first: tuple[ComparedStudy, MatchView], second: tuple[ComparedStudy, MatchView]
) -> list[GainDifference]:
    """Of the champions' leads over stock: Welch's interval for four means; none without an interval."""
    champion, stock = (_difference(first, second, role) for role in ("champion", "control"))
    if not champion or not stock:
        return []
    arms = [(match, arm_of(match, role)) for _, match in (first, second) for role in ("champion", "control")]
    ours, our_stock, theirs, their_stock = (counted(match, arm.program_id) for match, arm in arms if arm)
    if ours == our_stock or theirs == their_stock:  # a champion that is stock
        return []
    one, other = welch_difference(ours, our_stock), welch_difference(theirs, their_stock)
    if one[0] is None or other[0] is None or not one[1] or not other[1]:
        return []
    se = math.hypot(one[1], other[1])
    df = se**4 / (one[1] ** 4 / one[2] + other[1] ** 4 / other[2])
    lead = other[0] - one[0]
    low, high = interval(lead, se, df)
    first_lead, second_lead = (f"lead over stock of {name}" for name in (champion[0].first, champion[0].second))
    named = replace(champion[0], first=first_lead, second=second_lead, stock_runs=stock[0].runs)
    return [replace(named, difference=lead, low=low, high=high)]


def arm_of(match: MatchView, role: str) -> ArmView | None:
    return next((arm for arm in match.arms.values() if arm.role == role), None)


def counted(match: MatchView, program_id: str) -> list[float]:
    """The verified gains of a program's finished runs, in all its arms: stock has two."""
    return [gain for arm in match.arms.values() if arm.program_id == program_id for gain in gains_of(arm)]


def gains_of(arm: ArmView) -> list[float]:
    return [run.gain for run in arm.runs if run.state == "finished" and run.gain is not None]


@dataclass(frozen=True)
class ChampionTexts:
    """How the text of the second champion differs from that of the first: numbers of lines and the lines, without those
    that only moved, and the ideas that moved."""

    added: int
    removed: int
    lines: tuple[str, ...]
    moved: tuple[str, ...] = ()

    @property
    def short(self) -> tuple[str, ...]:
        """The lines after their sign, without a list's own mark, which looks like a second sign."""
        lines = (f"{line[0]} {line[1:].strip().removeprefix('- ')}" for line in self.lines)
        return tuple(lines) if len(self.lines) <= SHORT_DIFF else ()

    @property
    def sentence(self) -> str:
        if not self.lines and not self.moved:
            return "The two champions have the same text."
        moves = [f"{many(len(self.moved), 'idea')} moved"] if self.moved else []
        lines = [f"{many(self.removed, 'line')} removed, {self.added} added"] if self.lines else []
        return f"From the first champion to the second: {', '.join([*moves, *lines])}."


def texts(first: StudyView, second: StudyView) -> ChampionTexts | None:
    """None where a study has no champion."""
    both = [text for board in (first, second) if (text := text_of(board)) is not None]
    if len(both) < 2:
        return None
    lines = list(unified_diff(both[0].splitlines(), both[1].splitlines(), n=0, lineterm=""))[2:]
    both_ways = {line[1:] for line in lines if line[0] == "-"} & {line[1:] for line in lines if line[0] == "+"}
    moves = tuple(str(one) for one in moved(*(Program.parse(text) for text in both)))
    lines = [line for line in lines if not line.startswith("@@") and (line[1:] not in both_ways or not moves)]
    return ChampionTexts(sum(x[0] == "+" for x in lines), sum(x[0] == "-" for x in lines), tuple(lines), moves)


def text_of(board: StudyView) -> str | None:
    """The text of the champion; None without one."""
    identity = (board.champion or {}).get("program_id") or ""
    text = cast("Mapping[str, Any]", board.programs.get(identity, {})).get("text")
    return None if text is None else str(text)


@dataclass(frozen=True)
class ShownMatch:
    """``decides``: whether the verdict was made from it. ``arms``: rows for a table, with the mean verified gain of the
    arm's runs and its 95% interval."""

    title: str
    decides: bool
    arms: list[Row]


def verdict(board: StudyView) -> str:
    return str((board.champion or {}).get("verdict") or "no verdict")


def shown_matches(board: StudyView) -> list[ShownMatch]:
    """The matches that decide the verdict, then those on held-out tasks, which differ from study to study."""
    deciding, decided = board.deciding, board.decision is not None
    held_out = [m for m in board.matches.values() if m.event.get("purpose") == "reserve" and m not in deciding]
    return [_shown_match(board, m, decided) for m in deciding] + [_shown_match(board, m, False) for m in held_out]


def _shown_match(board: StudyView, match: MatchView, decides: bool) -> ShownMatch:
    held_out = match.event.get("purpose") == "reserve"
    role = " (held-out, not part of the verdict)" if held_out else " (decides the verdict)" if decides else ""
    title = f"{'match' if held_out else match.title} on {match.event.get('task')}{role}"
    title += f"; gain in {conditions(board, match)['unit'] or 'units of the metric'}"
    return ShownMatch(title, decides, [_arm(board, match, arm, decides) for arm in match.arms.values()])


def _arm(board: StudyView, match: MatchView, arm: ArmView, decides: bool) -> Row:
    mean = mean_interval(gains_of(arm))
    return {
        "match": f"{match.event.get('purpose')} on {match.event.get('task')}",
        "decides": decides,
        "program": named(board.name(arm.program_id), arm.role),
        "gain": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "runs": mean.n,
        "kept/tried": f"{sum(run.kept for run in arm.runs)}/{sum(run.tried for run in arm.runs)}",
    }


@dataclass(frozen=True)
class ComparedSetting:
    """``values``: of each study as text, a dash where it has none."""

    name: str
    values: tuple[str, ...]
    differs: bool


def settings(boards: Sequence[StudyView]) -> list[ComparedSetting]:
    """The settings that can change a result, those that differ first: without ids, times and the folders of paths.

    The last row has what a study draws at random: its seed, and the held-out task of its family."""
    known = [in_parts(cast("Mapping[str, Any]", board.config)) | {"programs": started(board)} for board in boards]
    rows = [_row(name, [each.get(name) for each in known]) for name in sorted({n for each in known for n in each})]
    drawn = tuple(_drawn(cast("Mapping[str, Any]", board.config)) for board in boards)
    rows.append(ComparedSetting("seed", drawn, len(set(drawn)) > 1))
    return sorted(rows, key=lambda row: (not row.differs, row.name == "seed", row.name))


def in_parts(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their path in the record."""
    parts: dict[str, Any] = {}
    for name, value in config.items():
        if name in NO_SETTINGS or name.endswith("_id"):
            continue
        if isinstance(value, Mapping) and len(value) < MOST_PARTS:
            parts |= in_parts(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            parts[prefix + name] = [_entry(each) for each in value if not _is_variant(each)]
        else:
            parts[prefix + name] = _entry(value)
    return parts


def _entry(value: Any) -> Any:
    """A task by its name, a path by its last part, anything else as it is."""
    if isinstance(value, Mapping):
        value = value.get("task") or json.dumps(dict(value), default=str)
    return PurePath(value).name if isinstance(value, str) and value.startswith("/") else value


def _is_variant(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value.get("variant"))


def _drawn(config: Mapping[str, Any]) -> str:
    variants = [_entry(each) for each in config.get("reserve") or () if _is_variant(each)]
    seed = config.get("seed")
    return ", ".join(["random" if seed is None else str(seed), *(f"held-out task {name}" for name in variants)])


def started(board: StudyView) -> list[str]:
    """The programs that the study began with; the beginning of an id separates different texts of one name."""
    events = cast("Mapping[str, Mapping[str, Any]]", board.programs)
    return [f"{e.get('name')} ({i[:7]})" for i, e in events.items() if e.get("operator") == "starter"]


def _row(name: str, values: Sequence[Any]) -> ComparedSetting:
    differs = any(value != values[0] for value in values)
    return ComparedSetting(name, tuple(_shown(value, values if differs else ()) for value in values), differs)


def _shown(value: Any, beside: Sequence[Any]) -> str:
    """A value as text; of lists that differ, the entries that are not in all."""
    if value in (None, "", [], {}):
        return NONE
    if isinstance(value, list):
        in_all = [each for each in value if all(isinstance(b, list) and each in b for b in beside)]
        own = [each for each in value if each not in in_all] if beside else value
        text = listed(map(str, own)) if own else many(len(value), "entry")
    else:
        text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
