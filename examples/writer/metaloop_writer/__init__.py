"""A `verifiers` environment: the model writes a program, and the reward is its verified gain over stock.

`eval metaloop-writer --env.taskset.task_folder strokes` finds it by its name; README.md has the options.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import verifiers.v1 as vf

from metaloop_writer.prompts import SYSTEM, first_prompt
from metaloop_writer.reward import Reward, reward

__all__ = ["WriterTaskset"]


class WriterConfig(vf.TasksetConfig):
    """``task_folder``: a task's name or folder. ``data``: file of `metaloop export --view written --to jsonl`, whose
    prompts are used; without it there is one prompt. Each prompt is a row per seed from ``first_seed`` on."""

    task_folder: str = "strokes"
    data: Path | None = None
    first_seed: int = 0
    seeds: int = 8
    runs: int = 4
    scale: float = 1.0


class WriterData(vf.TaskData):
    task_folder: str
    parents: list[str]
    seed: int
    runs: int
    scale: float


class WriterTask(vf.Task[WriterData, vf.State, vf.TaskConfig]):
    """One prompt with one seed; the model never sees the seed."""

    def judged(self, reply: str) -> Reward:
        data = self.data
        return reward(reply, data.task_folder, data.parents, seed=data.seed, runs=data.runs, scale=data.scale)

    @vf.reward
    async def verified_gain(self, trace: vf.Trace) -> float:
        made = await asyncio.to_thread(self.judged, trace.last_reply)
        known = {"runs": float(made.n), "refused": float(bool(made.refusal))}
        trace.record_metrics(known | ({"standard_error": made.se} if made.se is not None else {}))
        return made.reward


class WriterTaskset(vf.Taskset[WriterTask, WriterConfig]):
    def load(self) -> Iterable[WriterTask]:
        config = self.config
        for system, prompt, parents in prompts(config):
            for seed in range(config.first_seed, config.first_seed + config.seeds):
                data = WriterData(
                    prompt=prompt,
                    system_prompt=system,
                    task_folder=config.task_folder,
                    parents=list(parents),
                    seed=seed,
                    runs=config.runs,
                    scale=config.scale,
                )
                yield WriterTask(data, config.task)


def prompts(config: WriterConfig) -> list[tuple[str, str, tuple[str, ...]]]:
    """(system, user, the parents' texts) of each different prompt of the data."""
    if config.data is None:
        return [(SYSTEM, first_prompt(config.task_folder), ())]
    found: dict[tuple[str, str, tuple[str, ...]], None] = {}
    for line in config.data.read_text("utf-8").splitlines():
        row = json.loads(line)
        said = row["messages"][:-1]
        if [message["role"] for message in said] == ["system", "user"]:
            found[said[0]["content"], said[1]["content"], tuple(row["parents"])] = None
    if not found:
        raise ValueError(f"{config.data}: no row has a prompt of a system and a user message")
    return list(found)
