"""The league: what our recorded turns of a frontier model show about the words of a program.md.

python -m bench.league [WORD …]      no key, no training; without a word: programs

programs             the eight programs of examples/league, from bench/results/league
nights               two nights with a model in both loops: a child against its parent
replay STUDY …       the scripts of an ablation, made again from the recorded replies
sentences STUDY … [FILE.svg] [FILE.tsv]    the table of `metaloop ablate PROGRAM -m …` over several studies together,
                     as on two tasks, its picture, and its figures for `metaloop program lint`
against NIGHT … vs PLAIN …    main of nights against the final script of the plain loop, with the same model

A turn scores log(1 + gain / SD between seeds). The one test of the programs compares the spread of their means with all
orders within blocks; their intervals are over lineages; two differ by Tukey's range of block and program.
docs/league.md has the commands that play.
"""

from __future__ import annotations

import json
import lzma
import math
import re
import sys
import tarfile
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from scipy.stats import norm

from analysis import ledger
from analysis.effects.contributions import block_test, scores
from analysis.effects.designs import estimate
from analysis.effects.factorial import LEVEL, AblationRun, ablation_runs, effects_on, follows
from analysis.effects.league import alike_p, largest_difference
from analysis.report.axis import Axis
from analysis.statistics import Estimate, holm, welch_difference
from analysis.study import read_study
from analysis.views.scope import scopes
from arena.study.settings import StudyConfig
from bench.common import figure, mean_of, night_turns, sql
from inner_loop.chat.reply import parse
from inner_loop.events import CallEvent, Event, Experiment, NightTurnEvent, read_event
from inner_loop.researchers.chat import REPAIRS
from programs.measured import measured_sentences
from programs.program import Program
from trainer.edits import Edit
from trainer.source import Source
from trainer.task import Task

PROGRAMS = Path(__file__).parents[1] / "examples" / "league"
RECORDINGS = Path(__file__).parent / "results" / "league"
BLOCKS = 4  # of a lineage
FINAL_GAINS = "SELECT task, verified_gain, claimed_gain FROM runs WHERE verified_gain IS NOT NULL ORDER BY run_id"


@dataclass(frozen=True)
class Lineage:
    """The events of one lineage, in their order."""

    task: str
    number: int
    events: Sequence[Event]

    @property
    def turns(self) -> list[NightTurnEvent]:
        return [one for one in self.events if isinstance(one, NightTurnEvent)]

    @property
    def experiments(self) -> list[Experiment]:
        return [one for one in self.events if isinstance(one, Experiment)]

    @property
    def calls(self) -> list[CallEvent]:
        return [one for one in self.events if isinstance(one, CallEvent)]


def league() -> list[Program]:
    return [Program.parse(path.read_text("utf-8"), path.stem) for path in sorted(PROGRAMS.glob("*.md"))]


def recorded() -> list[Lineage]:
    return [_read(path, lzma.decompress(path.read_bytes()).decode()) for path in sorted(RECORDINGS.glob("*.jsonl.xz"))]


def _read(path: Path, text: str) -> Lineage:
    task, _, number = path.name.split(".")[0].rpartition("-")
    events = [event for line in text.splitlines() if (event := read_event(json.loads(line)))]
    return Lineage(task, int(number), events)


# --- figures -------------------------------------------------------------------------------------------------------


def noise(lineages: Sequence[Lineage]) -> float:
    """The SD between seeds, by the median difference of two trainings of one source: wild sources do not decide it."""
    differences = []
    for one in lineages:
        first = {e.source_id: e.metric for e in one.experiments if not e.replicate and e.metric is not None}
        again = [e for e in one.experiments if e.replicate and e.metric is not None and e.source_id in first]
        differences += [first[e.source_id] - e.metric for e in again if e.metric is not None]
    return float(np.median(np.abs(differences)) / norm.ppf(0.75) / math.sqrt(2))


def table_of(lineages: Sequence[Lineage]) -> np.ndarray:
    """Scores [lineage, block, program] of lineages, each task's divided by its own SD between seeds."""
    ids = [program.program_id for program in league()]
    sd = {task: noise([one for one in lineages if one.task == task]) for task in {one.task for one in lineages}}
    table = np.zeros((len(lineages), BLOCKS, len(ids)))
    for at, one in enumerate(lineages):
        rows = night_turns(one.events)
        for row, score in zip(rows, scores(rows, sd[one.task]), strict=True):
            table[at, row.block, ids.index(row.program_id)] += score
    return table


@dataclass
class Habits:
    """What a program made the model do, over its turns."""

    turns: int = 0
    kept: int = 0
    failed: int = 0
    several: int = 0  # that changed more than one known setting
    code: int = 0  # that changed lines other than known settings
    repeats: int = 0  # of a change that the lineage had tried
    lines: int = 0  # changed
    shorter: int = 0  # that left the script shorter
    tokens: int = 0

    def row(self) -> list[str]:
        share = [self.kept, self.failed, self.several, self.code, self.repeats, self.shorter]
        return [*(f"{one / self.turns:.2f}" for one in share), f"{self.lines / self.turns:.1f}",
                f"{self.tokens / self.turns:.0f}"]  # fmt: skip


def habits(lineages: Sequence[Lineage]) -> dict[str, Habits]:
    """By program id."""
    ids = [program.program_id for program in league()]
    found: dict[str, Habits] = defaultdict(Habits)
    for one in lineages:
        by_number, tried = {e.number: e for e in one.experiments}, set[str]()
        for turn in one.turns:
            mine, made = found[turn.program_id], by_number.get(turn.first) if turn.count else None
            mine.turns += 1
            mine.kept += turn.kept is not None
            if made is None:
                continue
            before = by_number[made.parent_number or 0].config
            settings = sorted((name, value) for name, value in made.config.items() if before.get(name) != value)
            added, gone = (len(re.findall(rf"^\{sign}(?!\{sign})", made.diff, re.M)) for sign in "+-")
            code = max(added, gone) > len(settings)
            change = json.dumps([settings, made.diff if code else ""])
            mine.failed += made.status != "ok"
            mine.several += len(settings) > 1
            mine.code += code
            mine.repeats += change in tried
            mine.lines += max(added, gone)
            mine.shorter += gone > added
            tried.add(change)
        for call in one.calls:
            found[ids[call.number // (1 + REPAIRS) % len(ids)]].tokens += call.tokens
    return found


def programs(lineages: Sequence[Lineage]) -> None:
    """Print the table of the eight programs and the one test."""
    played, table = league(), table_of(lineages)
    calls = [call for one in lineages for call in one.calls]
    figure("lineages", ", ".join(f"{one.task} {one.number}" for one in lineages))
    figure("turns and calls", f"{sum(len(one.turns) for one in lineages)}, {len(calls)}")
    for task in dict.fromkeys(one.task for one in lineages):
        own = [one for one in lineages if one.task == task]
        gains = [sum(turn.gain for turn in one.turns) for one in own]
        figure(f"{task}: gain of main over its start, {Task.load(task).unit}", mean_of(gains))
        figure(f"{task}: SD between seeds", f"{noise(own):.3g}")
    said, rest = habits(lineages), table - table.mean(axis=2, keepdims=True)
    head = "kept failed several code repeated shorter lines tokens"
    print(f"\n{'program':16}{'score':>24}{'early':>7}{'late':>7}  {'  '.join(f'{w:>8}' for w in head.split())}")
    for at in np.argsort(-table.mean(axis=(0, 1))):
        each, program = table[:, :, at], played[at]
        early, late = each[:, : BLOCKS // 2].mean(), each[:, BLOCKS // 2 :].mean()
        shown = "  ".join(f"{word:>8}" for word in said[program.program_id].row())
        score = f"{each.mean():.2f} ({mean_of(list(rest[:, :, at].mean(axis=1)), 2).split(' of')[0]})"
        print(f"{program.name:16}{score:>24}{early:7.2f}{late:7.2f}  {shown}")
    print("score: mean of log(1 + gain / SD) a turn, in brackets less the mean of all programs, 95% over lineages\n")
    for name, part in (("all", table), ("early", table[:, : BLOCKS // 2]), ("late", table[:, BLOCKS // 2 :])):
        seen, half = largest_difference(part.reshape(-1, part.shape[-1]))
        figure(f"{name}, all programs alike: p", f"{alike_p(part.reshape(-1, part.shape[-1])):.3f}")
        figure(f"{name}, largest difference of two programs", f"{seen:.2f}, at most {seen + half:.2f}")


def nights() -> None:
    """What the turns of each program score in the studies NIGHT.tar.xz, and whether a child's score more than those of
    its parent in the same blocks."""
    parents: dict[str, set[str]] = defaultdict(set)
    for path in sorted(RECORDINGS.glob("night-*.tar.xz")):
        with tarfile.open(path) as archive:
            files = [archive.extractfile(one) for one in archive if "/ledger/" in one.name and one.isfile()]
            records = [json.loads(line) for file in files if file for line in file]
        one = Lineage(path.name, 0, [event for record in records if (event := read_event(record))])
        rows, sd = night_turns(one.events), noise([one])
        scored = list(zip(rows, scores(rows, sd), strict=True))
        programs = [record for record in records if record["kind"] == "program"]
        names = {record["program_id"]: record["name"] for record in programs}
        for record in programs:
            parents[record["program_id"]] |= {*record["parent_ids"]}
        taking_part = [program_id for program_id in names if any(row.program_id == program_id for row in rows)]
        figure(f"{path.name}: turns and calls", f"{len(rows)}, {len(one.calls)}")
        for program_id in taking_part:
            each = [score for row, score in scored if row.program_id == program_id]
            gain = sum(row.gain for row in rows if row.program_id == program_id)
            figure(f"  {names[program_id]}: score a turn; gain of main", f"{mean_of(each, 2)}; {gain:.3f}")
            for parent in parents[program_id] & {*taking_part}:
                p = block_test([(rows, sd)], parent, program_id)
                figure(f"  {names[program_id]} better than {names[parent]}, its parent: p", f"{p:.3f}")


# --- a season played by the commands of docs/league.md ----------------------------------------------------------------


@dataclass(frozen=True)
class Sentence:
    """The effect of a sentence on the score of a turn, and ``planned``, the same as if all turns were independent;
    ``p``: Holm's over all sentences."""

    text: str
    effect: Estimate
    p: float
    planned: Estimate
    p_planned: float
    is_followed: bool

    @property
    def interval(self) -> tuple[float, float]:
        low, high = self.effect.interval()
        return (-math.inf, math.inf) if low is None or high is None else (low, high)

    @property
    def line(self) -> str:
        (low, high), (first, last) = self.interval, self.planned.interval()
        followed = "" if self.is_followed else "; not shown to be followed"
        independent = f"independent turns [{first or 0.0:.2f}, {last or 0.0:.2f}], p {self.p_planned:.3f}"
        return f"{self.effect.or_zero:.2f} [{low:.2f}, {high:.2f}], Holm's p {self.p:.3f}; {independent}{followed}"


def turns_of(studies: Sequence[str]) -> list[AblationRun]:
    runs: list[AblationRun] = []
    for study in studies:
        with read_study(Path(study)) as con:
            for scope in scopes(con):
                runs += ablation_runs(scope)
    return runs


def effects_of(runs: Sequence[AblationRun]) -> list[Sentence]:
    """The sentences whose effect these turns show, best first."""
    scores, held = [run.gain for run in runs], [[factor in run.held for factor in run.factors] for run in runs]
    effects, planned = effects_on(scores, runs), estimate(held, scores, [run.block for run in runs])
    corrected, first = (iter(holm([(e.p() if e else None) or 1.0 for e in known])) for known in (effects, planned))
    out = []
    for text, effect, plan, followed in zip(runs[0].texts, effects, planned, follows(runs), strict=True):
        p, p_planned = next(corrected), next(first)
        if effect is not None and plan is not None:
            out.append(Sentence(text, effect, p, plan, p_planned, bool(followed)))
    return sorted(out, key=lambda sentence: -sentence.effect.or_zero)


def sentences(studies: Sequence[str], files: Sequence[Path] = ()) -> None:
    """Print the effect of each sentence over the turns of several studies; ``files``: a picture, a table, of them."""
    runs = turns_of(studies)
    effects = effects_of(runs)
    figure("turns, sentences", f"{len(runs)}, {len(effects)}")
    for sentence in effects:
        figure(f"  {sentence.text}", sentence.line)
    for file in files:
        text = forest(effects, len(runs)) if file.suffix == ".svg" else table_of_sentences(effects, len(runs))
        file.write_text(text, encoding="utf-8")


def table_of_sentences(effects: Sequence[Sentence], turns: int) -> str:
    """The figures as `programs.measured` reads them; what a statement of the same meaning has stays."""
    alike = {known.text: known.alike.pattern for known in measured_sentences() if known.alike}
    lines = ["text\teffect\tlow\thigh\tp_holm\tis_followed\tturns\talike"]
    for each in effects:
        figures = "\t".join(f"{value:.3f}" for value in (each.effect.or_zero, *each.interval, each.p))
        lines.append(f"{each.text}\t{figures}\t{str(each.is_followed).lower()}\t{turns}\t{alike.get(each.text, '')}")
    return "\n".join(lines) + "\n"


def replay(studies: Sequence[str]) -> None:
    """Apply each recorded reply to the script that it was about, and compare the results with the recorded scripts."""
    for study in map(Path, studies):
        task = StudyConfig.read(study / "study.toml").loaded_task()
        scripts: dict[tuple[str, str | None], Source] = {}
        reply, same = dict[str | None, str](), list[bool]()
        for record in ledger.read(study / "ledger"):
            event = read_event(record)
            if isinstance(event, CallEvent):
                reply[event.run_id] = event.text
            if not isinstance(event, Experiment) or event.replicate:
                continue
            parent = scripts.get((event.run_id, event.parent_source_id), task.baseline())
            if event.proposer.startswith("chat"):
                script = parse(reply[event.run_id]).apply(parent)
                same.append(script.source_id == event.source_id)
            else:
                knobs = task.edits.config(parent)
                script = task.edits.apply(parent, Edit({k: v for k, v in event.config.items() if knobs[k] != v}))
            scripts[event.run_id, event.source_id] = script
        figure(f"{study.name}: replies that give the recorded script again", f"{sum(same)} of {len(same)}")


def forest(effects: Sequence[Sentence], turns: int) -> str:
    """A picture of the effects: a dot and a line, the 95% interval, for each sentence."""
    width, split, top, step = 980, 570, 82, 46
    axis = Axis.over([end for each in effects for end in each.interval], split, width - 150)
    rows = [
        {
            "y": top + at * step, "lines": textwrap.wrap(each.text, 70)[:3],
            "low": axis(each.interval[0]), "high": axis(each.interval[1]), "at": axis(each.effect.or_zero),
            "way": "shown" if each.p < LEVEL else "none",
            "label": f"{each.effect.or_zero:+.2f}".replace("-", "−") + ("" if each.is_followed else ", no sign"),
        }
        for at, each in enumerate(effects)
    ]  # fmt: skip
    floor = top + len(effects) * step - 14
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("forest.svg.j2").render(
        width=width, height=floor + 58, floor=floor, rows=rows, ticks=axis.ticks(5),
        title="What each sentence adds to the score of a turn",
        note=f"{turns} turns of a frontier model; line: 95% interval; blue: Holm's p below 5%; "
        "no sign: nothing else that it did differs",
    )  # fmt: skip


def against(words: Sequence[str]) -> None:
    """Print gains of nights and of the plain loop, claimed and on fresh seeds, and the ratio of the means."""
    at = words.index("vs")
    nights, plain = (final_gains(studies) for studies in (words[:at], words[at + 1 :]))
    for name, gains in (("nights", nights), ("plain loop", plain)):
        for task, rows in gains.items():
            verified, claimed = zip(*rows, strict=True)
            figure(f"{name} on {task}: gain on fresh seeds; claimed", f"{mean_of(verified)}; {mean_of(claimed)}")
    scaled: tuple[list[float], list[float]] = [], []
    for task in nights.keys() & plain.keys():
        scale = float(np.mean([verified for verified, _ in plain[task]]))
        for side, gains in zip(scaled, (nights, plain), strict=True):
            side += [verified / scale for verified, _ in gains[task]]
    possible = possible_ratios(*scaled)
    seen = float(np.mean(scaled[0]) / np.mean(scaled[1]))
    figure("nights over the plain loop", f"{seen:.2f} [{possible.min():.2f}, {possible.max():.2f}]")


def possible_ratios(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """The ratios of two means up to 20, in steps of .01, that the samples do not exclude at 5% (Fieller 1954, by
    Welch's test)."""
    tried = np.arange(0, 20, 0.01)
    intervals = [welch_difference(first, [ratio * value for value in second]).interval() for ratio in tried]
    return tried[[(low or 0.0) <= 0.0 <= (high or 0.0) for low, high in intervals]]


def final_gains(studies: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """By task, the gain on fresh seeds and the claimed one of each run that the studies verified."""
    gains: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for study in studies:
        for row in sql(Path(study), FINAL_GAINS):
            gains[row["task"]].append((row["verified_gain"], row["claimed_gain"]))
    return gains


def main(words: Sequence[str]) -> None:
    word, more = (words[0], words[1:]) if words else ("programs", [])
    if word in ("-h", "--help"):
        print(__doc__)
    elif word == "programs" and not more:
        programs(recorded())
    elif word == "nights" and not more:
        nights()
    elif word == "sentences" and more:
        files = [Path(name) for name in more if name.endswith((".svg", ".tsv"))]
        sentences([name for name in more if Path(name) not in files], files)
    elif word == "replay" and more:
        replay(more)
    elif word == "against" and "vs" in more[1:-1]:
        against(more)
    else:
        raise SystemExit(f"{' '.join(words)}: no command of the league\n\n{__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])
