"""Whether a better instruction for writers of programs is found: a stand-in model with a planted sentence.

    python -m bench.instruction_arms [STUDIES]      default 8

Each study is of a simulated task with known effects, with the library's instructions as arms. The stand-in writes
three random ideas before its parent's first three; where the instruction has the planted sentence, the three best edits
of the law that the parent's list lacks, before the whole list. Asked for a new instruction, it writes that sentence.
Printed: children minus parents of either kind, and how often the planted instruction was drawn after it was written,
beside an even share.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.study import query
from arena.executors.in_process import InProcessExecutor
from bench.common import TRIED, figure, mean_of
from bench.whole import Unwritten, quick_plan, silent
from inner_loop.models.provider import litellm
from meta.evolve import search
from meta.study.begin import create
from programs.shelf import meta_programs
from tests.llm import writer
from tests.llm.kits import KEY, staff
from tests.llm.researcher import luck_of, prompt_of
from tests.llm.server import LlmServer
from trainer.laws.law import Law
from trainer.laws.planted import random_law, simulated_task, term
from trainer.task import Task

SENTENCE = "Write the planted sentence."
GENERATIONS, CHILDREN = (2, 2) if TRIED else (8, 4)
CHARTER = {"proposers": {"queue": 0.9, "local": 0.1}, "no_repeat": True}
NUMBER = re.compile(r"^\((\d+)(?:: [^()\n]*)?\) - (.*)$", re.MULTILINE)
EFFECTS = """
SELECT m.meta_program_id AS wrote, c.estimate FROM mutations AS m JOIN credit AS c USING (child_id)
WHERE m.accepted AND m.model IS NOT NULL AND c.method = 'mutation'
"""
DRAWN = (
    "SELECT generation, meta_program_id AS wrote FROM mutations WHERE model IS NOT NULL ORDER BY generation, attempt"
)


def stand_in(law: Law) -> Callable[[dict[str, Any]], str]:
    best = [term(change) for change, effect in sorted(law.effects.items(), key=lambda row: -row[1]) if effect > 0]

    def answer(body: dict[str, Any]) -> str:
        prompt = prompt_of(body)
        if writer.INSTRUCT in prompt:
            return json.dumps({"limits": "Ideas were random.", "instruction": f"# Planted\n\n- {SENTENCE}\n"})
        listed, luck = NUMBER.findall(prompt.rpartition("# Parent")[2]), luck_of(body)
        lacking = [f"Use `{one}`." for one in best if not any(f"`{one}`" in text for _, text in listed)]
        knows = SENTENCE in prompt.partition("# Instruction")[2] and lacking
        new = lacking[:3] if knows else writer.ideas(prompt, luck, 3)
        kept = [int(n) for n, _ in listed]
        return writer.reply([], ideas=[*new, *(kept if knows else kept[:3])], charter=CHARTER)

    return answer


def played(seed: int, folder: Path) -> tuple[list[float], list[float], float | None]:
    """Children minus parents of the planted instruction and of the others, in headrooms of the law; and the planted
    one's share of the proposals after it was written."""
    law = random_law(seed)
    task = Task.load(simulated_task(law, folder / "task"))
    plan = replace(quick_plan(task), generations=GENERATIONS, children=CHILDREN, confirm_runs=2, ablation_runs=0)
    with LlmServer(stand_in(law)) as server:
        os.environ.update(OPENAI_API_BASE=server.url, OPENAI_API_KEY=KEY)
        study, starters = create(
            folder / "study", task=task, plan=plan, workers=1, seed=seed, model_config=staff(reply_tokens=2000)
        )
        with study, InProcessExecutor(study, silent) as executor, Unwritten() as lineage:
            search(study, plan, starters, executor, lineage, silent)
    known = {program.program_id for program in meta_programs()}
    rows, size = query(folder / "study", EFFECTS), law.headroom
    planted = [row["estimate"] / size for row in rows if row["wrote"] not in known]
    others = [row["estimate"] / size for row in rows if row["wrote"] in known]
    drawn = query(folder / "study", DRAWN)
    first = next((row["generation"] for row in drawn if row["wrote"] not in known), None)
    after = Counter(row["wrote"] in known for row in drawn if first is not None and row["generation"] >= first)
    return planted, others, after[False] / after.total() if after else None


def main() -> None:
    litellm()
    planted, others, shares = list[float](), list[float](), list[float]()
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    for seed in range(1, studies + 1):
        with tempfile.TemporaryDirectory() as place:
            mine, rest, share = played(seed, Path(place))
        print(f"study {seed}: planted {len(mine)} children, others {len(rest)}, share of draws {share}", flush=True)
        planted, others, shares = planted + mine, others + rest, shares + ([share] if share is not None else [])
    figure("children minus parents, planted instruction, in headrooms", mean_of(planted))
    figure("the same, the library's instructions", mean_of(others))
    figure(
        "share of draws of the planted one, after it was written",
        mean_of(shares),
        f"even {1 / (1 + len(meta_programs())):.2f}",
    )
    figure("studies in which it was written", f"{len(shares)} of {studies}")


if __name__ == "__main__":
    main()
