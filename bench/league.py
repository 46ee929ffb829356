"""The league: do program.md files differ when a real model follows them?

python -m bench.league                           every figure, from bench/results/league: no key, no training
python -m bench.league play FOLDER TASK NUMBER   one lineage, with the model at OPENAI_API_BASE; goes on after a stop
python -m bench.league pack FOLDER               lineages become recordings, from which the figures are computed
python -m bench.league nights                    two nights with a model in both loops: a child against its parent
python -m bench.league design [LINEAGES]         how large a difference has to be, by turns of the scripted researcher

The eight programs of examples/league take turns on one lineage of train.py in random blocks (`inner_loop.night`), four
blocks a lineage; from the second one on, a lineage begins at a script with three settings drawn at random. A turn
scores log(1 + gain / SD between seeds). The one test compares the spread of the programs' means with all orders within
blocks. Intervals of a program are over lineages; two programs differ by Tukey's range of block and program.
"""

from __future__ import annotations

import json
import lzma
import math
import re
import sys
import tarfile
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm, studentized_range

from analysis.effects.contributions import block_test, scores
from bench.common import figure, mean_of, night_turns
from inner_loop.events import CallEvent, Event, Experiment, NightTurnEvent, read_event
from inner_loop.researchers.chat import REPAIRS
from inner_loop.run import run
from inner_loop.run_context import ModelConfig, RunContext
from programs.program import Program
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Trainer
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

PROGRAMS = Path(__file__).parents[1] / "examples" / "league"
RECORDINGS = Path(__file__).parent / "results" / "league"
BLOCKS, EXPERIMENTS, CHANGED = 4, 70, 3  # of a lineage; the budget that its prompts state; settings of its start
ORDERS, SEED, LEVEL = 9_999, 1, 0.05
MODEL = ModelConfig(models=("openai/by-hand",), call_timeout=1800.0, patience=3600.0)


@dataclass(frozen=True)
class Lineage:
    """One lineage: its events, in their order."""

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


def start_of(task: Task, number: int) -> Source | None:
    """The script that a lineage begins at: of the first the untouched one."""
    if number == 1:
        return None
    rng = np.random.default_rng([SEED, number])
    own = task.edits.config(task.baseline())
    knobs = [knob for knob in task.edits.knobs if knob.kind != "patch"]
    chosen = [knobs[at] for at in rng.permutation(len(knobs))[:CHANGED]]
    others = [[value for value in knob.values if value != own[knob.name]] for knob in chosen]
    edit = Edit({knob.name: each[rng.integers(len(each))] for knob, each in zip(chosen, others, strict=True)})
    return task.edits.apply(task.baseline(), edit)


def play(folder: Path, name: str, number: int, recorded: Sequence[Event] = (), researcher: str = "chat") -> Lineage:
    """Play a lineage, or the rest of one; its events are appended to ``folder``/NAME-NUMBER.jsonl."""
    task, programs, streams = Task.load(name), league(), Streams.from_seed(number)
    events, whole = list(recorded), BLOCKS * len(programs)
    turns = sum(isinstance(one, NightTurnEvent) for one in events)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}-{number}.jsonl").open("a", encoding="utf-8") as out:

        def emit(event: Event) -> None:
            nonlocal turns
            out.write(json.dumps(event.to_record(), ensure_ascii=False) + "\n")
            out.flush()
            events.append(event)
            turns += isinstance(event, NightTurnEvent)

        run_id = f"{name}-{number}"
        seed = zlib.crc32(run_id.encode())
        context = RunContext(MODEL, run_id, study=folder, recorded=recorded, emit=emit, record=folder / "prompts")
        with Trainer(task, DataStore(task, streams, folder / "data")) as trainer:
            run(
                programs[0], trainer, run_id=run_id, run_seed=seed, streams=streams, emit=emit, folder=None,
                budget_seconds=EXPERIMENTS * task.cost_seconds, researcher=researcher, recorded=recorded,
                should_stop=lambda: turns >= whole, context=context, beside=programs[1:], start=start_of(task, number),
            )  # fmt: skip
    return Lineage(name, number, events)


def pack(folder: Path) -> None:
    """Events and prompts of each complete lineage as one compressed file."""
    for file in sorted(folder.glob("*-*.jsonl")):
        prompts = folder / "prompts" / file.name
        lines = file.read_text("utf-8") + "".join(
            json.dumps({"kind": "prompt", "number": one["number"], "request": one["request"], **one["asked"]}) + "\n"
            for one in map(json.loads, prompts.read_text("utf-8").splitlines())
        )
        RECORDINGS.mkdir(parents=True, exist_ok=True)
        (RECORDINGS / f"{file.stem}.jsonl.xz").write_bytes(lzma.compress(lines.encode(), preset=9))


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


def block_p(table: np.ndarray, orders: int = ORDERS) -> float:
    """The p of all programs being alike: the spread of their means against that of random orders within blocks."""
    blocks, rng = table.reshape(-1, table.shape[-1]), np.random.default_rng(SEED)
    seen = np.var(blocks.mean(axis=0))
    drawn = [np.var(rng.permuted(blocks, axis=1).mean(axis=0)) for _ in range(orders)]
    return float((1 + sum(one >= seen - 1e-12 for one in drawn)) / (1 + orders))


def largest(table: np.ndarray) -> tuple[float, float]:
    """The largest difference of two programs' mean scores, and by how much it may be larger (Tukey's range)."""
    blocks = table.reshape(-1, table.shape[-1])
    rows, columns = blocks.shape
    rest = blocks - blocks.mean(axis=1, keepdims=True) - blocks.mean(axis=0) + blocks.mean()
    freedom = (rows - 1) * (columns - 1)
    half = studentized_range.ppf(1 - LEVEL, columns, freedom) * math.sqrt((rest**2).sum() / freedom / rows)
    return float(np.ptp(blocks.mean(axis=0))), float(half)


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


def report(lineages: Sequence[Lineage]) -> None:
    programs, table = league(), table_of(lineages)
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
        each, program = table[:, :, at], programs[at]
        early, late = each[:, : BLOCKS // 2].mean(), each[:, BLOCKS // 2 :].mean()
        shown = "  ".join(f"{word:>8}" for word in said[program.program_id].row())
        score = f"{each.mean():.2f} ({mean_of(list(rest[:, :, at].mean(axis=1)), 2).split(' of')[0]})"
        print(f"{program.name:16}{score:>24}{early:7.2f}{late:7.2f}  {shown}")
    print("score: mean of log(1 + gain / SD) a turn, in brackets less the mean of all programs, 95% over lineages\n")
    for name, part in (("all", table), ("early", table[:, : BLOCKS // 2]), ("late", table[:, BLOCKS // 2 :])):
        seen, half = largest(part)
        figure(f"{name}, all programs alike: p", f"{block_p(part):.3f}")
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


# --- design --------------------------------------------------------------------------------------------------------


def detects(scored: np.ndarray, lineages: int, times: float, rng: np.random.Generator, trials: int = 200) -> float:
    """Share of leagues of such a size in which the test sees a program whose turns are the best of ``times`` tries."""
    pool, programs, found = scored.ravel(), len(league()), 0
    for _ in range(trials):
        blocks = rng.choice(pool, (lineages * BLOCKS, programs))
        more = rng.choice(pool, (lineages * BLOCKS, math.ceil(times) - 1)).max(axis=1, initial=0.0)
        sure = rng.random(len(blocks)) < (times - 1 if times < 2 else 1.0)
        blocks[:, 0] = np.where(sure, np.maximum(blocks[:, 0], more), blocks[:, 0])
        found += block_p(blocks, 199) < LEVEL
    return found / trials


def design(folder: Path, lineages: int) -> None:
    played = [play(folder, "strokes", number, researcher="scripted") for number in range(1, 9)]
    scored, rng = table_of(played), np.random.default_rng(SEED)
    figure("mean score of a turn and its SD, scripted", f"{scored.mean():.2f}, {scored.std():.2f}")
    for times in (1.0, 1.5, 2.0, 3.0, 5.0):
        figure(
            f"one of eight with {times:g} times the tries a turn, seen", f"{detects(scored, lineages, times, rng):.2f}"
        )


def main(what: str = "", *words: str) -> None:
    if what not in ("", "play", "pack", "design", "nights"):
        raise SystemExit(f"{what}: no command of the league\n\n{__doc__}")
    with tempfile.TemporaryDirectory() as temporary:
        if what == "play":
            folder, name, number = Path(words[0]), words[1], int(words[2])
            file = folder / f"{name}-{number}.jsonl"
            play(folder, name, number, _read(file, file.read_text("utf-8")).events if file.is_file() else ())
        elif what == "pack":
            pack(Path(words[0]))
        elif what == "design":
            design(Path(temporary), int((*words, "8")[0]))
        elif what == "nights":
            nights()
        else:
            report(recorded())


if __name__ == "__main__":
    main(*sys.argv[1:])
