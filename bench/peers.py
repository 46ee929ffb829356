"""Other optimizers of texts (PyPI) and metaloop improve stock for the scripted researcher: same task, model and runs.

    python -m bench.peers FILE [--runs 5] [--task DIR]... [--model openai/NAME] [--final 12] [--workers 2]

Peers: GEPA (`pip install gepa`) and OpenEvolve (`pip install openevolve`). The row of a peer that is not installed says
so. FILE gets one line of JSON for each repetition (seeds 1 to N, of all tools); a later call goes on from there.

`metaloop evolve --quick` goes first. The peers then get as many runs as the races and generations of that study took,
and start from stock, while metaloop starts from its library of starters and has operators without a model. An
evaluation by GEPA is one run; one by OpenEvolve is four runs, on seeds that stay the same. OpenEvolve has its defaults
(five islands) but for whole rewrites. Both see the task's known edits and the experiments of the runs. All results
and stock then play one match on seeds that no tool has seen.

Without OPENAI_API_BASE a server of this repository stands for the model. Its replies are random valid programs: the
table then shows that the bench works, and nothing about what the tools do with a real model.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from analysis.statistics import mean_interval
from analysis.study import query
from bench.common import METALOOP, go_on, kept
from inner_loop.models import provider
from inner_loop.models.contract import Message
from meta.cli.main import run
from programs.errors import MetaloopError
from programs.lint import check
from programs.program import Program
from programs.shelf import starter
from tests.llm import local, writer
from tests.llm.kits import environment_variables
from tests.llm.researcher import luck_of, prompt_of
from tests.llm.server import Body, LlmServer
from trainer.planted import random_law, simulated_task
from trainer.task import Task

TRAIN, VALIDATION, FINAL = range(1000, 1006), range(2000, 2004), 9000  # seeds of the peers' runs, and of the last match
APART = 10_000  # between the seeds of two repetitions
PEERS = {"GEPA": "gepa", "OpenEvolve": "openevolve"}
REPLY_TOKENS, TIMEOUT = 8192, 300.0
COMPONENT = "program"
SPENT = "SELECT count(*) AS runs FROM runs WHERE purpose IN ('race', 'generation')"
CALLS = "SELECT count(*) AS calls, coalesce(sum(tokens), 0) AS tokens FROM calls WHERE run_id IS NULL OR run_id = ''"
CHILDREN = "SELECT count(*) FILTER (accepted) AS made, count(*) FILTER (NOT accepted) AS refused FROM mutations"
EXPERIMENTS = "SELECT number, description, status, metric, decision FROM experiments ORDER BY run_id, number"
ABOUT = """You improve a program: a markdown file that a scripted researcher follows to improve train.py. Its front
matter (`metaloop:`) is the charter; the items of its Ideas are tried in order if the charter's proposers include queue.

Task: {description} Metric: {metric}, {direction} is better.

{edits}"""
PROMPT = """{about}

The program:
```
<curr_param>
```

Runs of it, each with its verified gain over the untouched train.py (higher is better), and its experiments:
```
<side_info>
```

Write a better program. Provide the whole text within ``` blocks."""
EVALUATE = """from openevolve.evaluation_result import EvaluationResult
from pathlib import Path
from bench.peers import Evaluator

def evaluate(path):
    gain, log = Evaluator({task!r}, Path({folder!r})).judge(Path(path).read_text("utf-8"), {seed}, {runs})
    return EvaluationResult({{"combined_score": gain}}, {{"experiments": log}})
"""


@dataclass
class Spent:
    """What a tool really used. ``evaluations``: what its own budget counts; ``invalid``: texts that no run followed."""

    evaluations: int
    runs: int
    invalid: int
    calls: int
    tokens: int
    programs: int


@dataclass
class Repetition:
    """Mean verified gains of the last match, and what each tool spent (None: not installed)."""

    task: str
    seed: int
    stands_in: bool
    final: int
    gains: dict[str, float]
    spent: dict[str, dict[str, int] | None]


@dataclass(frozen=True)
class Job:
    task: str
    seed: int
    model: str
    final: int
    stands_in: bool


def command(*words: str) -> str:
    """The output of a command of metaloop, in this process if it may set signal handlers. Exits where it fails."""
    if threading.current_thread() is not threading.main_thread():
        done = subprocess.run([METALOOP, *words], capture_output=True, text=True, check=False)
        code, out, remarks = done.returncode, done.stdout, done.stderr
    else:
        said, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            code = run(list(words))
        out, remarks = said.getvalue(), errors.getvalue()
    if code:
        sys.exit(f"metaloop {' '.join(words)}: {remarks.strip()[-400:]}")
    return out


def ours(job: Job, root: Path) -> tuple[Program, Spent]:
    study = root / "ours"
    flags = ("-r", "scripted", "-m", job.model, "--quick", "--fixed-steps", "--seed", str(job.seed), "-j", "1")
    flags += ("-b", f"{Task.load(job.task).run_budget}s")  # as in a match; --quick alone: several times it
    command("evolve", "-t", job.task, *flags, "--yes", "--quiet", "-s", str(study))
    path = study / "champion.md"
    program = Program.load(path) if path.is_file() else starter("stock")
    (runs,), (calls,), (children,) = (query(study, statement) for statement in (SPENT, CALLS, CHILDREN))
    counts = (children["refused"], calls["calls"], calls["tokens"], children["made"])
    return program, Spent(runs["runs"], runs["runs"], *map(int, counts))


@dataclass
class Evaluator:
    """What a peer's text gains, by runs of the scripted researcher. Each evaluation is a line of ``log``."""

    task: str
    root: Path

    @property
    def log(self) -> Path:
        return self.root / "evaluations.jsonl"

    def judge(self, text: str, seed: int, runs: int) -> tuple[float, str]:
        """(mean verified gain, what happened) of some runs; a text that is no valid program gains nothing."""
        wrong = problem(text)
        append(self.log, {"text": text, "runs": 0 if wrong else runs})
        if wrong:
            return -1.0, f"not a valid program: {wrong}"
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            path, study = Path(folder) / "candidate.md", Path(folder) / "study"
            path.write_text(text, encoding="utf-8")
            flags = ("--no-controls", "--fixed-steps", "-j", "1", "-r", "scripted", "-n", str(runs), "--quiet")
            command("match", str(path), "-t", self.task, "--seed", str(seed), *flags, "-s", str(study))
            gains = [row["gain"] or 0.0 for row in query(study, "SELECT verified_gain AS gain FROM runs")]
            rows = [f"{r['number']}: {r['description']}: {r['status']}, metric {r['metric']}, {r['decision']}" for r in
                    query(study, EXPERIMENTS)]  # fmt: skip
        return sum(gains) / runs, "\n".join(rows)

    def spent(self, calls: Path) -> Spent:
        lines, tokens = lines_of(self.log), [line["tokens"] for line in lines_of(calls)]
        valid = {line["text"].strip() for line in lines if line["runs"]}
        runs, invalid = sum(line["runs"] for line in lines), sum(not line["runs"] for line in lines)
        return Spent(len(lines), runs, invalid, len(tokens), sum(tokens), len(valid) - 1)


def append(file: Path, line: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def problem(text: str) -> str:
    try:
        Program.parse(text, "candidate")
        return next((m.message for m in check(text, "candidate") if m.level == "error"), "")
    except MetaloopError as error:
        return error.message


@dataclass
class Adapter:
    """GEPA's view of a program: one run per seed. ``propose_new_texts`` None: GEPA writes with its own strategy."""

    evaluator: Evaluator
    propose_new_texts: Any = None

    def evaluate(self, batch: Sequence[int], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        from gepa import EvaluationBatch

        judged = [self.evaluator.judge(candidate[COMPONENT], seed, 1) for seed in batch]
        scores = [gain for gain, _ in judged]
        return EvaluationBatch(outputs=scores, scores=scores, trajectories=judged if capture_traces else None)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> dict[str, list[dict[str, str]]]:
        rows = [{"verified gain": f"{gain:+.4g}", "experiments": log} for gain, log in eval_batch.trajectories]
        return dict.fromkeys(components_to_update, rows)


@dataclass
class Asking:
    """The model as both peers call it, GEPA by a call and OpenEvolve as a client. Each call is a line of ``log``."""

    model: str
    log: Path

    def __call__(self, prompt: Any) -> str:
        messages = (
            [Message("user", prompt)] if isinstance(prompt, str) else [Message(m["role"], m["content"]) for m in prompt]
        )
        reply = provider.ask(self.model, messages, max_tokens=REPLY_TOKENS, timeout=TIMEOUT)
        append(self.log, {"tokens": reply.tokens_in + reply.tokens_out})
        return reply.text

    async def generate_with_context(self, system_message: str, messages: list[dict[str, str]], **_: Any) -> str:
        return self([{"role": "system", "content": system_message}, *messages])


def client(model: str, log: Path, _config: object) -> Asking:
    return Asking(model, log)


class Remarks:
    """GEPA's remarks, beside the table."""

    def log(self, message: str) -> None:
        print(message, file=sys.stderr)


def about(task: str) -> str:
    known = Task.load(task)
    edits = (f"- `{k.name.lower()}`: {k.kind}, {', '.join(map(str, k.values))}" for k in known.edits.knobs if k.values)
    return ABOUT.format(
        description=known.description, metric=known.metric, direction=known.direction, edits="\n".join(edits)
    )


def gepa_text(job: Job, root: Path, runs: int) -> str:
    import gepa

    first = APART * job.seed
    made = gepa.optimize(
        seed_candidate={COMPONENT: starter("stock").text},
        trainset=[first + seed for seed in TRAIN],
        valset=[first + seed for seed in VALIDATION],
        adapter=Adapter(Evaluator(job.task, root)),  # type: ignore[arg-type]
        reflection_lm=Asking(job.model, root / "calls.jsonl"),
        reflection_prompt_template=PROMPT.replace("{about}", about(job.task)),
        reflection_minibatch_size=2,
        skip_perfect_score=False,
        logger=Remarks(),
        max_metric_calls=runs,
        seed=job.seed,
    )
    best = made.best_candidate
    return best[COMPONENT] if isinstance(best, dict) else str(best)


def openevolve_text(job: Job, root: Path, runs: int) -> str:
    """Its first evaluation is of stock; an iteration is one call, and one evaluation if the reply has a new text."""
    from openevolve import run_evolution
    from openevolve.config import Config, LLMConfig, LLMModelConfig

    each = len(VALIDATION)
    stock, script = root / "stock.md", root / "evaluate.py"
    stock.write_bytes(starter("stock").raw)
    seed = APART * job.seed + VALIDATION[0]
    script.write_text(EVALUATE.format(task=job.task, folder=str(root), seed=seed, runs=each), "utf-8")
    model = LLMModelConfig(name=job.model, init_client=partial(client, job.model, root / "calls.jsonl"))
    config = Config(llm=LLMConfig(models=[model]), random_seed=job.seed, language="markdown", log_level="WARNING")
    config.diff_based_evolution = config.evaluator.cascade_evaluation = False
    config.evaluator.timeout = 24 * 3600
    config.prompt.system_message = about(job.task)
    iterations = max(1, runs // each - 1)
    made = run_evolution(stock, script, config, iterations=iterations, output_dir=str(root / "output"), cleanup=False)
    return str(made.best_code)


def theirs(name: str, job: Job, root: Path, runs: int) -> tuple[Program, Spent]:
    """In a process of its own: peers change signal handlers, logging and random states."""
    root.mkdir()
    improve = {"GEPA": gepa_text, "OpenEvolve": openevolve_text}[name]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        text = pool.submit(improve, job, root, runs).result()
    if not lines_of(root / "calls.jsonl"):
        sys.exit(f"{name}: no call reached the model {job.model}")  # its result would look like stock's
    return Program.parse(text, name), Evaluator(job.task, root).spent(root / "calls.jsonl")


def final(job: Job, programs: dict[str, Program], root: Path) -> dict[str, float]:
    """The gains in one match on fresh seeds, by tool; equal programs have one row."""
    names: dict[str, str] = {}
    for name, program in programs.items():
        names.setdefault(program.program_id, name)
    paths = []
    for name in names.values():
        paths.append(root / f"final-{name}.md")
        paths[-1].write_bytes(programs[name].raw)
    seed = str(APART * job.seed + FINAL)
    flags = ("--no-controls", "--fixed-steps", "-j", "1", "-r", "scripted", "--seed", seed, "-n", str(job.final))
    said = command("match", *map(str, paths), "-t", job.task, *flags, "-s", str(root / "final"), "--json", "--quiet")
    gains = {row["name"].removeprefix("final-"): row["gain"] for row in json.loads(said)["items"]}
    return {name: gains[names[program.program_id]] for name, program in programs.items()}


def repetition(job: Job) -> Repetition:
    with tempfile.TemporaryDirectory(prefix="metaloop-peers-") as folder:
        root = Path(folder)
        made: dict[str, tuple[Program, Spent]] = {"metaloop": ours(job, root)}
        runs = made["metaloop"][1].runs
        for name, package in PEERS.items():
            if find_spec(package):
                made[name] = theirs(name, job, root / package, runs)
        gains = final(job, {name: program for name, (program, _) in made.items()} | {"stock": starter("stock")}, root)
    spent = {name: asdict(made[name][1]) if name in made else None for name in ("metaloop", *PEERS)}
    return Repetition(Task.load(job.task).name, job.seed, job.stands_in, job.final, gains, spent)


@contextlib.contextmanager
def endpoint() -> Iterator[bool]:
    """Whether a stand-in serves the model."""
    if os.environ.get("OPENAI_API_BASE"):
        yield False
        return
    with LlmServer(stand_in) as server:
        os.environ.update(environment_variables(server.url))
        yield True


def stand_in(body: Body) -> str:
    """The writer of our tests; to a peer, a program of the same kind."""
    prompt = prompt_of(body)
    return local.answer(body) if "# What to do" in prompt else f"```\n{writer._whole(prompt, luck_of(body))}\n```"


def table(made: Sequence[Repetition]) -> Iterator[str]:
    """Means over the repetitions, with 95% t intervals of the gains; a peer may be installed in some of them only."""
    if any(one.stands_in for one in made):
        yield "A stand-in answered, not a model: this shows the mechanism, not the worth of a tool with a real model.\n"
    yield "| task | tool | n | gain in last match [95%] | evaluations | runs | invalid | calls | tokens | programs |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for task in dict.fromkeys(one.task for one in made):
        own = [one for one in made if one.task == task]
        for name in ("metaloop", *PEERS, "stock"):
            gains = [one.gains[name] for one in own if name in one.gains]
            mean = mean_interval(gains)
            if mean.mean is None:
                yield f"| {task} | {name} | 0 | not installed | | | | | | |"
                continue
            ends = "" if mean.low is None or mean.high is None else f" [{mean.low:+.3f}, {mean.high:+.3f}]"
            used = [spent for one in own if (spent := one.spent.get(name))]
            costs = (f"{sum(s[key] for s in used) / len(used):,.1f}" if used else "" for key in Spent.__annotations__)
            yield f"| {task} | {name} | {len(gains)} | {mean.mean:+.3f}{ends} | {' | '.join(costs)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="lines of JSON, one for each repetition")
    parser.add_argument("--runs", type=int, default=5, help="repetitions on each task")
    parser.add_argument("--task", action="append", help="a task's name or folder; default: two simulated ones")
    parser.add_argument("--model", default="openai/test")
    parser.add_argument("--final", type=int, default=12, help="runs of each program in the last match")
    parser.add_argument("--workers", type=int, default=2, help="repetitions at a time")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metaloop-peers-") as folder, endpoint() as stands_in:
        tasks = flags.task or [
            str(simulated_task(random_law(law), Path(folder) / str(law), name=f"planted-{law}", experiments=8))
            for law in (2, 3)
        ]
        done = {(one.task, one.seed) for one in kept(flags.file, Repetition)}
        names = {task: Task.load(task).name for task in tasks}
        jobs = [Job(task, seed, flags.model, flags.final, stands_in) for seed in range(1, flags.runs + 1)
                for task in tasks if (names[task], seed) not in done]  # fmt: skip
        go_on(flags.file, repetition, jobs, flags.workers)
    print("\n".join(table(kept(flags.file, Repetition))))


if __name__ == "__main__":
    main()
