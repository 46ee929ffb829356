"""The jobs that models get when they write programs: how many cannot change what the researcher does, and their tokens.

    python -m bench.jobs [--jobs 40] STUDY…

No model is called. For each study (copied ones, of any kind) operators and parents are drawn from the state of its
ledger, as in the next generation. A job is impossible if no deletion, addition or rewriting that it allows behaves like
a program that the study does not have. Rewriting and adding are checked here by trying charters and ideas in each
section that the job names; deletions and merges are tried by the operators themselves before they are offered. Tokens
are counted by LiteLLM's tokenizer for --model.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from analysis.study import open_study
from arena.study import Study
from arena.task_set import evidence_of
from arena.task_study import all_tasks
from inner_loop.models.provider import litellm
from meta.archive import Archive
from meta.confirmation import FINAL
from meta.mutators.base import ParentProgram
from meta.mutators.llm.assemble import CHARTER, with_section
from meta.mutators.llm.author import instruction
from meta.mutators.llm.briefing import MutationBriefing, brief
from meta.mutators.llm.generation_calls import GenerationCalls
from meta.mutators.llm.kinds import Job, ProgramReader, offered
from meta.mutators.llm.mutator import LlmMutator
from meta.mutators.llm.prompt_detail import FULL
from meta.mutators.llm.reply import BadReply, MutationReply
from meta.novelty import novelty_on
from programs.errors import MetaloopError, ProgramError
from programs.program import Program


def variants(reader: ProgramReader, name: str, section: str, program: Program) -> Iterator[Program]:
    """Programs that a reply to the job may be, one change each."""
    body = {
        CHARTER: [f"metaloop:\n  proposers: {{queue: 0.77, local: {share}}}\n" for share in (0.23, 0.11)],
    }.get(section)
    space = reader.novelty.tasks[0].edits
    ideas = [f"- Use `{knob.name.lower()}={value}`.\n" for knob in space.knobs for value in knob.values[:2]]
    for text in body or ideas or ["- Look twice.\n"]:
        try:
            yield program.with_text(with_section(program, MutationReply("", (), section, text)))
        except (BadReply, ProgramError):
            continue


def is_possible(reader: ProgramReader, name: str, job: Job, parents: Sequence[Program]) -> bool:
    """Whether some reply to the job behaves like no program of the study."""
    if name in ("bold", "distil", "merge", "delete"):  # tried one by one before they are offered
        return True
    return all(
        any(reader.is_new(child, parents) for child in variants(reader, name, section, parents[0]))
        or (section != CHARTER and CHARTER in job.sections)  # ideas together with the charter that reads them
        for section in job.sections
    )


def drawn(folder: Path, jobs: int, model: str) -> list[tuple[str, bool, int]]:
    """(operator, whether it can change behaviour, tokens of its prompt) of each job."""
    count = litellm().token_counter

    study, out = Study.open(folder), []
    rng = np.random.default_rng(1)
    with study:
        last = [m for m, event in study.state.matches.items() if event.purpose in FINAL]
        with open_study(folder, views=()) as con:
            facts = evidence_of(study, con, last)
        novelty = novelty_on(all_tasks(study))
        for program_id in study.state.programs:
            novelty.meet(study.program(program_id))
        briefing: MutationBriefing = brief(study, instruction(study.config.meta_program), novelty=novelty)
        known = {score.program_id: study.program(score.program_id) for score in facts.programs}
        archive = Archive(known, facts.programs, Counter())
        calls = GenerationCalls(
            {}, generation=1, most=1, reply_tokens=1, note=lambda _: None, stopped=lambda: MetaloopError("stopped")
        )
        kinds = offered(study.config.researcher)
        for _ in range(20 * jobs):
            if len(out) == jobs:
                break
            kind = kinds[int(rng.integers(len(kinds)))]
            parents: list[ParentProgram] = archive.parents(rng, kind.parents)
            programs = [parent.program for parent in parents]
            job = kind.offer(briefing.reader, programs, rng) if len(parents) == kind.parents else None
            if job is None:
                continue
            mutator = LlmMutator(kind, model, calls, briefing)
            messages, _ = mutator._messages(parents, facts, job, None, [], FULL)
            tokens = sum(count(model=model, text=message.text) for message in messages)
            out.append((kind.name, is_possible(briefing.reader, kind.name, job, programs), tokens))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--jobs", type=int, default=40, help="for each study")
    parser.add_argument("--model", default="gpt-4o", help="whose tokenizer counts")
    given = parser.parse_args()
    rows = []
    for folder in given.studies:
        jobs = drawn(folder, given.jobs, given.model)
        rows += jobs
        tokens = statistics.fmean([tokens for _, _, tokens in jobs] or [0.0])
        idle = sum(not possible for _, possible, _ in jobs)
        print(f"{folder}: {len(jobs)} jobs, {idle} cannot change behaviour, {tokens:.0f} tokens in on average")
    kinds = Counter(name for name, _, _ in rows)
    print(", ".join(f"{name} {count}" for name, count in kinds.most_common()))


if __name__ == "__main__":
    main()
