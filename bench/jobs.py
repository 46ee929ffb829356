"""The requests for new programs that models get, judged by their replies: how many become children, and their tokens.

    python -m bench.jobs FOLDER STUDY… [--jobs 20]

No model is called. For each study (copied ones, of any kind) operators and parents are drawn from the state of its
ledger, as for its next generation. FOLDER gets one file for each request, NNN.request.md; whoever answers writes
NNN.reply.txt beside it, and the same command again judges the replies and writes the request for a repair of each
faulty one (NNN.repair.request.md). A proposal becomes a child if it parses, has no new warning and behaves like no
program of the study. Tokens are counted by LiteLLM's tokenizer for --model, of request and reply.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.study import open_study
from arena.study import Study
from arena.task_set import evidence_of
from arena.task_study import tasks_of
from inner_loop.events import CallEvent
from inner_loop.models.contract import Message
from inner_loop.models.provider import litellm
from inner_loop.run_context import ModelConfig
from meta.archive import Archive
from meta.breed import judge
from meta.confirmation import FINAL
from meta.mutators.llm.calls import GenerationCalls
from meta.mutators.llm.prompt import brief
from meta.mutators.llm.write import OPERATORS, Writer
from meta.novelty import novelty_on
from programs.errors import MetaloopError
from programs.program import Program
from programs.shelf import meta_program


@dataclass(frozen=True)
class Judged:
    """A request and its reply. ``refusal``: why its proposal is no child, after a repair where there is one; None
    without a reply. ``does``: what identifies the child's behaviour."""

    operator: str
    tokens: int
    refusal: str | None
    remark: str
    repaired: bool
    does: str = ""


class Filed(GenerationCalls):
    """Calls whose answers are files."""

    def __init__(self, folder: Path, model: str) -> None:
        super().__init__(
            {}, generation=1, most=10**6, config=ModelConfig(models=(model,)), note=print,
            stopped=lambda: MetaloopError("stopped"),
        )  # fmt: skip
        self.folder, self.name, self.tokens, self.model = folder, "", 0, model

    def ask(self, model: str, messages: Sequence[Message], purpose: str, **_: Any) -> tuple[int, CallEvent | None]:
        name = f"{self.name}.repair" if "repair" in purpose else self.name
        request = "\n\n".join(f"=== {message.role} ===\n{message.text}" for message in messages)
        (self.folder / f"{name}.request.md").write_text(request, "utf-8")
        answer = self.folder / f"{name}.reply.txt"
        text = answer.read_text("utf-8") if answer.exists() else None
        count = litellm().token_counter
        counts = [count(model=self.model, text=part) for part in (request, text or "")]
        self.tokens += sum(counts)
        return 0, None if text is None else CallEvent(
            number=0, purpose=purpose, request="", tokens=sum(counts), usd=None, wall_seconds=0.0, attempts=1,
            model=model, tokens_in=counts[0], tokens_out=counts[1], finish="stop", text=text, status="ok",
        )  # fmt: skip


def drawn(study: Study, jobs: int, calls: Filed, first: int) -> list[Judged]:
    """So many jobs of a study's next generation, each judged alone."""
    rng, out = np.random.default_rng(1), list[Judged]()
    last = [m for m, event in study.state.matches.items() if event.purpose in FINAL]
    with open_study(study.folder, views=()) as con:
        facts = evidence_of(study, con, last)
    known = {score.program_id: study.program(score.program_id) for score in facts.programs}
    archive = Archive(known, facts.programs, Counter())
    own = study.config.meta_program
    instruction = Program.parse(own[1], own[0]) if own else meta_program()
    for number in range(jobs):
        novelty = novelty_on(tasks_of(study))
        for program_id in study.state.programs:
            novelty.meet(study.program(program_id))
        operator = [*OPERATORS][int(rng.random() < 0.3)]
        writer = Writer(operator, calls.model, calls, brief(study, facts), instruction)
        calls.name, calls.tokens = f"{first + number:03d}", 0
        parents = archive.parents(rng, writer.parents)
        proposal = writer.propose(parents, facts, rng)
        if proposal is None or proposal.refusal.startswith("no model answers"):
            out.append(Judged(operator, calls.tokens, None, "", False))
            continue
        attempt = judge(proposal, parents[0].program, "child", novelty)
        again = proposal.repair(attempt.refusal) if attempt.faulty and proposal.repair else None
        if again is not None and not again.refusal.startswith("no model answers"):
            attempt = judge(again, parents[0].program, "child", novelty)
        does = novelty.behaviour(attempt.program) if attempt.program and not attempt.refusal else ""
        out.append(Judged(operator, calls.tokens, attempt.refusal, proposal.remark, again is not None, does))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where requests and replies are")
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--jobs", type=int, default=20, help="for each study")
    parser.add_argument("--model", default="gpt-4o", help="whose tokenizer counts")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    rows: list[Judged] = []
    for path in given.studies:
        with Study.open(path) as study:
            rows += drawn(study, given.jobs, Filed(given.folder, given.model), len(rows) + 1)
    answered = [row for row in rows if row.refusal is not None]
    print(f"{len(rows)} requests, {len(answered)} answered, {statistics.fmean(r.tokens for r in rows):.0f} tokens each")
    children = [row for row in answered if not row.refusal]
    unknown = sum("cites" in row.remark for row in answered)
    print(f"children {len(children)}, of them repaired {sum(row.repaired for row in children)}")
    print(f"different children {len({row.does for row in children})}, replies with unknown ids {unknown}")
    for why, count in Counter(row.refusal for row in answered if row.refusal).most_common():
        print(f"  refused {count}: {why}")


if __name__ == "__main__":
    main()
