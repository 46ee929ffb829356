"""GEPA (from PyPI) and metaloop improve stock for the scripted researcher: the same task, model, runs and verification.

    python -m bench.peers [--task DIR] [--model openai/NAME] [--final 12]

Needs `pip install gepa` in the environment. `metaloop evolve --quick` goes first; GEPA then gets as many runs as the
races and generations of that study took. A metric call of GEPA is one run with its verified gain, and its reflection
prompt has the task's known edits and the experiments of the runs. Both results and stock then play one match on seeds
that neither has seen. GEPA starts from stock, metaloop from its library of starters.

Without OPENAI_API_BASE a server of this repository stands for the model. Its replies are random valid programs: the
table then shows that the bench works, and nothing about either tool.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.study import query
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

TRAIN, VALIDATION, FINAL = range(1000, 1006), range(2000, 2004), 9000  # seeds of GEPA's runs, and of the last match
REPLY_TOKENS, TIMEOUT = 8192, 300.0
COMPONENT = "program"
SPENT = "SELECT count(*) AS runs FROM runs WHERE purpose IN ('race', 'generation')"
CALLS = "SELECT count(*) AS calls, coalesce(sum(tokens), 0) AS tokens FROM calls WHERE run_id IS NULL OR run_id = ''"
EXPERIMENTS = "SELECT number, description, status, metric, decision FROM experiments ORDER BY number"
PROMPT = """You improve a program: a markdown file that a scripted researcher follows to improve train.py. Its front
matter (`metaloop:`) is the charter; the items of its Ideas are tried in order if the charter's proposers include queue.

{about}

The program:
```
<curr_param>
```

Runs of it, each with its verified gain over the untouched train.py (higher is better), and its experiments:
```
<side_info>
```

Write a better program. Provide the whole text within ``` blocks."""


@dataclass
class Result:
    """What a tool spent, and the program that it ends with."""

    program: Program
    runs: int
    calls: int
    tokens: int
    candidates: int


def command(*words: str) -> str:
    """The output of a command of metaloop, in this process. Exits where it fails."""
    said, remarks = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(remarks):
        code = run(list(words))
    if code:
        sys.exit(f"metaloop {' '.join(words)}: {remarks.getvalue().strip()[-400:]}")
    return said.getvalue()


def ours(task: str, model: str, root: Path) -> Result:
    study = root / "ours"
    flags = ("-r", "scripted", "-m", model, "--quick", "--fixed-steps", "--seed", "1", "-j", "1", "--yes", "--quiet")
    command("evolve", "-t", task, *flags, "-s", str(study))
    path = study / "champion.md"
    program = Program.load(path) if path.is_file() else starter("stock")
    ((runs, calls),) = zip(query(study, SPENT), query(study, CALLS), strict=True)
    children = query(study, "SELECT count(*) AS n FROM mutations WHERE accepted")[0]["n"]
    return Result(program, runs["runs"], calls["calls"], calls["tokens"], children)


@dataclass
class Adapter:
    """GEPA's view of a program: one run per seed. ``propose_new_texts`` None: GEPA writes with its own strategy."""

    task: str
    root: Path
    runs: int = 0
    propose_new_texts: Any = None

    def evaluate(self, batch: Sequence[int], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        from gepa import EvaluationBatch

        judged = [self.one(candidate[COMPONENT], seed) for seed in batch]
        scores = [gain for gain, _ in judged]
        return EvaluationBatch(outputs=scores, scores=scores, trajectories=judged if capture_traces else None)

    def one(self, text: str, seed: int) -> tuple[float, str]:
        """(verified gain, what happened) of one run; a text that is no valid program gains nothing."""
        self.runs += 1
        study = self.root / f"gepa-{self.runs}"
        path = study.with_suffix(".md")
        path.write_text(text, encoding="utf-8")
        wrong = problem(text)
        if wrong:
            return -1.0, f"not a valid program: {wrong}"
        flags = ("--no-controls", "--fixed-steps", "-j", "1", "-r", "scripted", "-n", "1", "--quiet")
        command("match", str(path), "-t", self.task, "--seed", str(seed), *flags, "-s", str(study))
        gain = query(study, "SELECT verified_gain AS gain FROM runs")[0]["gain"]
        rows = (f"{r['number']}: {r['description']}: {r['status']}, metric {r['metric']}, {r['decision']}" for r in
                query(study, EXPERIMENTS))  # fmt: skip
        return (gain or 0.0), "\n".join(rows)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> dict[str, list[dict[str, str]]]:
        rows = [{"verified gain": f"{gain:+.4g}", "experiments": log} for gain, log in eval_batch.trajectories]
        return dict.fromkeys(components_to_update, rows)


def problem(text: str) -> str:
    try:
        Program.parse(text, "candidate")
        return next((m.message for m in check(text, "candidate") if m.level == "error"), "")
    except MetaloopError as error:
        return error.message


@dataclass
class Reflection:
    """The model, as GEPA calls it."""

    model: str
    calls: int = 0
    tokens: int = 0

    def __call__(self, prompt: Any) -> str:
        text = prompt if isinstance(prompt, str) else "\n".join(str(m["content"]) for m in prompt)
        self.calls += 1
        reply = provider.ask(self.model, [Message("user", text)], max_tokens=REPLY_TOKENS, timeout=TIMEOUT)
        self.tokens += reply.tokens_in + reply.tokens_out
        return reply.text


class Remarks:
    """GEPA's remarks, beside the table."""

    def log(self, message: str) -> None:
        print(message, file=sys.stderr)


def theirs(task: str, model: str, root: Path, runs: int) -> Result:
    import gepa

    known = Task.load(task)
    edits = (f"- `{k.name.lower()}`: {k.kind}, {', '.join(map(str, k.values))}" for k in known.edits.knobs if k.values)
    about = f"Task: {known.description} Metric: {known.metric}, {known.direction} is better.\n\n" + "\n".join(edits)
    adapter, reflection = Adapter(task, root), Reflection(model)
    made = gepa.optimize(
        seed_candidate={COMPONENT: starter("stock").text},
        trainset=list(TRAIN),
        valset=list(VALIDATION),
        adapter=adapter,  # type: ignore[arg-type]
        reflection_lm=reflection,
        reflection_prompt_template=PROMPT.replace("{about}", about),
        reflection_minibatch_size=2,
        skip_perfect_score=False,
        logger=Remarks(),
        max_metric_calls=runs,
        seed=1,
    )
    best = made.best_candidate
    text = best[COMPONENT] if isinstance(best, dict) else str(best)
    program, accepted = Program.parse(text, "gepa"), len(made.candidates) - 1
    return Result(program, adapter.runs, reflection.calls, reflection.tokens, accepted)


def final(task: str, programs: dict[str, Program], root: Path, runs: int) -> dict[str, dict[str, Any]]:
    """The standings of one match on fresh seeds, by tool; equal programs have one row."""
    names: dict[str, str] = {}
    for name, program in programs.items():
        names.setdefault(program.program_id, name)
    paths = []
    for program_id, name in names.items():
        paths.append(root / f"final-{name}.md")
        paths[-1].write_bytes(next(p for p in programs.values() if p.program_id == program_id).raw)
    flags = ("--no-controls", "--fixed-steps", "-j", "1", "-r", "scripted", "--seed", str(FINAL), "-n", str(runs))
    said = command("match", *map(str, paths), "-t", task, *flags, "-s", str(root / "final"), "--json", "--quiet")
    rows = {row["name"].removeprefix("final-"): row for row in json.loads(said)["items"]}
    return {name: rows[names[program.program_id]] for name, program in programs.items()}


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
    """The writer of our tests; to GEPA, a program of the same kind."""
    prompt = prompt_of(body)
    return local.answer(body) if "# What to do" in prompt else f"```\n{writer._whole(prompt, luck_of(body))}\n```"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", help="a task's name or folder; default: a simulated one")
    parser.add_argument("--model", default="openai/test")
    parser.add_argument("--final", type=int, default=12, help="runs of each program in the last match")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metaloop-peers-") as folder, endpoint() as stands_in:
        root = Path(folder)
        task = flags.task or str(simulated_task(random_law(2), root / "task", experiments=8))
        made = {"metaloop": ours(task, flags.model, root)}
        made["GEPA"] = theirs(task, flags.model, root, made["metaloop"].runs)
        programs = {name: result.program for name, result in made.items()} | {"stock": starter("stock")}
        rows = final(task, programs, root, flags.final)
    if stands_in:
        print("A stand-in answered, not a model: this shows that the bench works, and nothing about either tool.\n")
    print(f"| verified gain, n = {flags.final} | mean [95%] | runs to find it | calls | tokens | candidates |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        spent = made.get(name)
        cost = f"{spent.runs} | {spent.calls} | {spent.tokens:,} | {spent.candidates}" if spent else "| | |"
        print(f"| {name} | {row['gain']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}] | {cost} |")


if __name__ == "__main__":
    main()
