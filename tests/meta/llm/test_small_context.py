"""Writers of programs against a server with a small context: what their prompts leave out, and what they never do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from analysis.study import query
from arena.study.study import Study
from bench.whole import begin_study, resized, search_here
from inner_loop.models.prices import settled
from inner_loop.run_context import ModelConfig
from meta.mutators.llm.write import JOBS
from programs.shelf import meta_program
from tests.llm import writer
from tests.llm.kits import MODEL, environment
from tests.llm.local import LocalServer
from tests.llm.researcher import prompt_of
from tests.meta.evolved import SHORT
from tests.meta.llm.test_study import PLAN
from tests.studies import planted

Played = tuple[list[str], list[str], list[dict[str, Any]]]
Play = Callable[..., Played]
FULL = {"better": ("also better", 6), "lower": ("lower", 5), "unclear": ("unclear", 6)}  # edits named on a whole page


@pytest.fixture(scope="module")
def play(litellm_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """The prompts that a study sent, its notes, and its mutations with a model."""
    root = tmp_path_factory.mktemp("small")
    task = planted(root / "task")

    def played(size: int, generations: int = 1, **how: Any) -> Played:
        plan = resized(PLAN, generations=generations, final={"champion": 1, "control": 1})
        folder, notes = root / f"{size}-{len(list(root.iterdir()))}", list[str]()

        def listen(event: Mapping[str, Any]) -> None:
            notes.extend([event["text"]] if event["kind"] == "note" else [])

        with pytest.MonkeyPatch.context() as patch, LocalServer("vllm", size, answer=writer.answer) as server:
            environment(patch, server.url)
            config = settled(
                ModelConfig(
                    models=(MODEL,), context_tokens=size, call_timeout=60.0, patience=100.0, backoff=0.005, **how
                )
            )
            begin_study(folder, task, plan, run_budget=SHORT, seed=3, model_config=config)
            search_here(Study.open(folder), listen)
            assert not server.refused
        rows = query(folder, "SELECT operator, accepted, reason FROM mutations WHERE model IS NOT NULL")
        return [prompt_of(body) for body in server.seen], notes, rows

    yield played


def is_short(prompt: str) -> bool:
    """Whether the context left out proposals, or edits that a whole page names."""
    hidden = re.search(r"further edits are only counted: (.*)", prompt)
    lists = {line.split(": ")[0]: line.count(", ") + 1 for line in prompt.splitlines() if line.startswith("- ")}
    short = (
        [f" {kind}" in hidden[1] and lists.get(f"- {name}", 0) < n for kind, (name, n) in FULL.items()]
        if hidden
        else []
    )
    return any(short) or "Earlier proposals are left out here" in prompt


def test_all_of_evolve_fits_into_4096_tokens(play: Play) -> None:
    prompts, notes, rows = play(4096, 2)
    assert len(prompts) >= 3 and [row for row in rows if row["accepted"]]
    left_out = [note for note in notes if "do not fit" in note]
    assert all(note.startswith("mutate ") for note in left_out)  # a parent with a shipped list of 30 ideas
    for prompt in prompts:
        assert meta_program().text.strip() in prompt and "# What to do" in prompt
        assert "Reply with one JSON object" in prompt and "`ladder2` = " in prompt
        assert is_short(prompt)
    assert not any("too long" in row["reason"] for row in rows)


def test_nothing_fitting_is_named_once_and_operators_go_on(play: Play) -> None:
    prompts, notes, rows = play(2048)
    assert not prompts and not rows
    said = [note for note in notes if "do not fit into a context of 2048 tokens with a reply of 409" in note]
    assert said and len(said) <= 2 * (len(JOBS) + 1) and all("a larger context" in note for note in said)


@pytest.mark.slow
def test_a_large_context_leaves_nothing_out(play: Play) -> None:
    prompts, _, _ = play(32_000)
    assert prompts and not any(map(is_short, prompts))
