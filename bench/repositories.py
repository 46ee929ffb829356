"""What `task init --from` reads out of repositories of other people.

python -m bench.repositories [FOLDER [MODEL]]      default bench/repositories; nothing is run, a minute

A fixture (bench/repositories/README.md) has a repository's files and what a careful reader would say of it. Counted
over the command, the metric, its direction, the editable files, the time of an experiment and the seed: fields that are
right, fields that are asked for (not found, so that nothing is written), and fields that are silently wrong. A value
that the repository does not state has to be asked for. Then the constants: those offered that change nothing or loosen
a guardrail, and whether the one that the prose recommends is offered. With MODEL (such as openai/NAME; its server by
OPENAI_API_BASE) each repository is read as `task init -m MODEL` reads it, one call each.
"""

from __future__ import annotations

import re
import sys
import tempfile
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.common import figure
from inner_loop.models.client import ModelClient
from inner_loop.models.context_size import settled
from inner_loop.models.contract import ChatModel
from inner_loop.run_context import ModelConfig, RunContext
from meta.repository_reader import ask, merged
from programs.errors import MetaloopError
from trainer.foreign.init import Wanted, draft

FOLDER = Path(__file__).with_name("repositories")
FIELDS = ("command", "metric", "direction", "editable", "budget", "seed")
_FILLED = re.compile(r"\s+--?[\w-]+[= ]\{(?:seed|budget)\}|\s*\d?>>?\s*\S+|\s*2>&1|\s*\|\s*tee\s.*")
RIGHT, REQUESTED, WRONG = "right", "asked", "wrong"


@dataclass
class Read:
    """How each field was read, and the names of constants that were offered; ``refused``: nothing could be read."""

    name: str
    states: dict[str, str] = field(default_factory=dict)
    offered: list[str] = field(default_factory=list)
    refused: str = ""


def read(path: Path, model: ChatModel | None = None) -> tuple[Read, dict[str, Any]]:
    fixture = tomllib.loads(path.read_text("utf-8"))
    truth, known = fixture["truth"], Read(path.stem)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in fixture["files"].items():
            file = Path(folder, "repo", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        try:
            drafted = draft(Path(folder, "repo"), Wanted())
            if model is not None:
                proposed = ask(model, drafted.source, max_tokens=2048)
                drafted, _ = merged(Path(folder, "repo"), drafted, Wanted(), proposed, "a model")
            facts = {fact.field: fact for fact in drafted.facts}
        except MetaloopError as error:
            known.refused, known.states = error.message, dict.fromkeys(FIELDS, REQUESTED)
            return known, truth
    values = {name: facts[name].value if name in facts and facts[name].is_known else None for name in FIELDS}
    for name in ("command", "metric", "direction"):
        true = truth[name] if isinstance(truth[name], list) else [truth[name]] if truth[name] else []
        said = _FILLED.sub("", str(values[name])).strip() if values[name] is not None else None
        known.states[name] = state(said, {_FILLED.sub("", one).strip() for one in true})
    editable = values["editable"] and frozenset(values["editable"])
    known.states["editable"] = state(editable, {frozenset(truth["editable"])} if truth["editable"] else set())
    known.states["budget"] = budget(values["budget"], truth["budget_seconds"], facts)
    has_seed = truth["seed"] != "none"
    known.states["seed"] = (
        (RIGHT if has_seed else WRONG) if values["seed"] is not None else REQUESTED if has_seed else RIGHT
    )
    known.offered = list(facts["edits"].value or []) if "edits" in facts else []
    return known, truth


def state(said: object, true: set[Any]) -> str:
    """Of a value where ``true`` are the right ones; none: it has to be asked for."""
    if said is None:
        return REQUESTED if true else RIGHT
    return RIGHT if said in true else WRONG


def budget(said: float | None, true: float, facts: dict[str, Any]) -> str:
    """A default that is shown as one is right only where the repository states no time."""
    assumed = "budget" not in facts or facts["budget"].where == "assumed"
    if said is None or assumed:
        return RIGHT if not true else REQUESTED
    return RIGHT if true and abs(said - true) <= 0.01 * true else WRONG


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    config = ModelConfig(models=tuple(sys.argv[2:]), call_timeout=3000, patience=3000, calls_at_once=16)
    context = RunContext(config=settled(config), emit=lambda _: None)
    model = ModelClient(context, 0) if sys.argv[2:] else None
    for group in sorted({path.parent for path in folder.rglob("*.toml")}):
        with ThreadPoolExecutor(16) as pool:  # a model answers several at a time
            report(list(pool.map(partial(read, model=model), sorted(group.glob("*.toml")))), group.name)


def report(all_read: list[tuple[Read, dict[str, Any]]], group: str) -> None:
    states = Counter(state for one, _ in all_read for state in one.states.values())
    count, fields = len(all_read), sum(states.values())
    figure(f"{group}, repositories", count)
    figure(f"{group}, fields right", f"{states[RIGHT]} of {fields}", ">= 85%")
    figure(f"{group}, fields asked for", f"{states[REQUESTED]} of {fields}", "<= 15%")
    figure(f"{group}, fields silently wrong", f"{states[WRONG]} of {fields}", "0")
    wrong = [one.name for one, _ in all_read if WRONG in one.states.values()]
    figure(f"{group}, repositories with a wrong field", f"{len(wrong)} of {count}", "0")
    by_field = {name: Counter(one.states[name] for one, _ in all_read) for name in FIELDS}
    for name, each in by_field.items():
        figure(f"  {name}", f"right {each[RIGHT]}, asked {each[REQUESTED]}, wrong {each[WRONG]}")
    for kind, goal in (("dead", "0"), ("guardrails", "0")):
        offered = [name for one, truth in all_read for name in one.offered
                   if _bare(name) in _all(truth[kind]) and name not in truth["alive"]]  # fmt: skip
        there = sum(len(truth[kind]) for _, truth in all_read)
        figure(f"{group}, {kind} constants offered", f"{len(offered)} of {there}", goal)
    best = [(one, truth) for one, truth in all_read if truth["best"]]
    offered = [one for one, truth in best if _bare(truth["best"]) in _all(one.offered)]
    figure(f"{group}, recommended constants offered", f"{len(offered)} of {len(best)}", "all")


def _bare(name: str) -> str:
    """A name without its owner, dashes and the index of a tuple (``betas_0``)."""
    return re.sub(r"_\d$", "", name.rpartition(".")[2].lower().lstrip("-").replace("-", "_"))


def _all(names: list[str]) -> set[str]:
    return {_bare(name) for name in names}


if __name__ == "__main__":
    main()
