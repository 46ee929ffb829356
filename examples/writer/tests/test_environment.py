"""The environment with the library `verifiers`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import verifiers.v1 as vf
from metaloop_writer import WriterConfig, WriterTaskset

from bench.simulated_tasks import random_law, simulated_task

REPLY = "<program>\n---\nmetaloop:\n  proposers: {local: 1.0}\n---\n# Near\n\nTry neighbours.\n</program>"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("writer") / "task"
    simulated_task(random_law(2), folder, experiments=8)
    return str(folder)


def trace_of(task: vf.Task, reply: str) -> vf.Trace:
    agent = vf.AgentInfo.model_construct()
    trace = vf.Trace(task=vf.TraceTask.model_construct(data=task.data), agent=agent)
    trace.nodes.append(vf.MessageNode(message={"role": "assistant", "content": reply}, parent=None, sampled=True))
    return trace


def test_a_row_per_prompt_and_seed_and_a_reward_from_real_runs(task: str) -> None:
    rows = list(WriterTaskset(WriterConfig(id="metaloop_writer", task_folder=task, seeds=2, runs=2)))
    assert [row.data.seed for row in rows] == [0, 1] and "`ladder1`" in rows[0].data.prompt
    traces = [trace_of(rows[0], REPLY), trace_of(rows[0], REPLY), trace_of(rows[0], "---\nmetaloop: 7\n---\n")]
    for trace in traces:
        asyncio.run(rows[0].score(trace))
    first, again, refused = traces
    assert first.reward == again.reward != 0.0 and first.metrics["runs"] == 2.0
    assert refused.reward == -1.0 and refused.metrics["refused"] == 1.0


def test_prompts_come_from_exported_rows(task: str, tmp_path: Path) -> None:
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    rows = [{"messages": [*said, {"role": "assistant", "content": text}], "parents": ["# P\n"]} for text in "ab"]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = list(WriterTaskset(WriterConfig(task_folder=task, data=tmp_path / "train.jsonl", first_seed=5, seeds=1)))
    assert [(row.data.system_prompt, row.data.prompt, row.data.parents) for row in made] == [("s", "u", ["# P\n"])]


def test_the_library_finds_it_by_its_name(task: str) -> None:
    from verifiers.v1.utils.loaders import load_taskset

    assert type(load_taskset(WriterConfig(id="metaloop-writer", task_folder=task))).__name__ == "WriterTaskset"
