"""Parts by name: our own by their files, others by the entry points of installed packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from analysis.effects.attribution import METHODS
from arena.race import RACE_RULES
from arena.work.choice import EXECUTORS
from inner_loop.researchers import RESEARCHERS, find_researcher
from inner_loop.scripted import proposers
from meta.kinds.contract import KINDS
from meta.mutators.mix import MUTATORS, Mix, named_operators
from programs.charter import FIELDS, KEEP_RULES, PROPOSERS, Charter
from programs.common import registry as registry_module
from programs.common.errors import NotFound, TaskError, UsageError
from programs.common.registry import Registry
from programs.program import Program
from trainer.scoring import SCORERS, scorer_of

PARTS = """
class Part:
    name, share, parents, per_position, needs_checkpoint, extra = "mine", 1.0, 1, False, False, 0
    def __init__(self, *made_from, **more):
        self.made_from, self.more = made_from, more

def greedy(*, must):
    pass
"""
REGISTRIES: list[Registry[Any]] = [
    PROPOSERS, KEEP_RULES, MUTATORS, SCORERS, RESEARCHERS, RACE_RULES, EXECUTORS, METHODS, KINDS,
]  # fmt: skip
EACH = pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: str(registry.kind))

DOCS = Path(__file__).parents[3] / "docs"


@EACH
def test_parts_of_ours_are_found_by_their_files_and_documented(registry: Registry[Any]) -> None:
    assert registry.built_in[: len(registry.first)] == registry.first and len(registry.built_in) >= 3
    assert all(callable(registry.get(name)) for name in registry.built_in)
    contracts = (DOCS / "design.md").read_text("utf-8").split("\n## Contracts\n")[1].split("\n## ")[0]
    text = (DOCS / "attribution.md").read_text("utf-8") if registry is METHODS else contracts
    assert sorted(set(registry.built_in) - set(re.findall(r"[\w-]+", text))) == []
    field = {"proposers": PROPOSERS, "keep.rule": KEEP_RULES}
    for description in (FIELDS[name].description or "" for name, parts in field.items() if parts is registry):
        assert all(f"{name} = " in description for name in registry.built_in), "models and agents read of each"


def install(folder: Path, name: str, points: str) -> None:
    """A package in ``folder`` with these entry points of proposers."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(points)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that adds a part "mine" of each kind."""
    (tmp_path / "mine.py").write_text(PARTS)
    install(tmp_path, "mine", "".join(f"[{registry.group}]\nmine = mine:Part\n" for registry in REGISTRIES))
    monkeypatch.syspath_prepend(tmp_path)
    registry_module._installed.cache_clear()
    yield tmp_path
    registry_module._installed.cache_clear()


@pytest.mark.usefixtures("installed")
def test_installed_package_adds_a_part_of_each_kind() -> None:
    assert all(registry.added == ("mine",) and not registry.problems() for registry in REGISTRIES)
    front = "---\nmetaloop:\n  proposers: {mine: 1, random: 1}\n  keep: {rule: mine}\n---\nGo.\n"
    charter = Program.parse(front).charter
    assert list(charter.proposers) == ["random", "mine"] and charter.keep.rule == "mine"
    assert proposers.make(charter, []) is not None and scorer_of({"kind": "mine", "classes": 2}).per_position is False
    assert [m.name for m in Mix(named_operators(["write-ideas", "mine"])).operators] == ["write-ideas", "mine"]
    made: Any = find_researcher("mine:more")(None, None, 3, None)
    assert made.made_from == (None, None, 3, None) and made.more == {"more": "more"}


@pytest.mark.parametrize(
    ("points", "name", "line"),
    [
        ("random = mine:Part", "random", "metaloop and other 1.0 both have a proposer 'random'"),
        ("mine = mine:Part", "mine", "mine 1.0 and other 1.0 both have a proposer 'mine'|other 1.0 and mine 1.0 both"),
        ("gone = nowhere:Part", "gone", "'gone' of other 1.0 cannot be imported: ModuleNotFoundError: No module named"),
        ("gone = mine:Gone", "gone", "'gone' of other 1.0 cannot be imported: AttributeError: .* has no attribute"),
        ("greedy = mine:greedy", "greedy", r"'greedy' of other 1.0: mine:greedy cannot be called with \(start\)"),
        ("text = mine:PARTS.name", "text", "'text' of other 1.0"),
    ],
)
def test_a_part_that_cannot_be_used_is_one_line(installed: Path, points: str, name: str, line: str) -> None:
    install(installed, "other", f"[metaloop.proposers]\n{points}\n")
    with pytest.raises(UsageError, match=line) as caught:
        PROPOSERS.get(name)
    assert "\n" not in caught.value.message and "uninstall" in caught.value.hint
    assert [error.message for error in PROPOSERS.problems()] == [caught.value.message]
    assert KEEP_RULES.get("mine") and PROPOSERS.get("local")  # the others go on


def test_names_that_are_unknown_are_refused_with_the_known() -> None:
    with pytest.raises(NotFound, match="no keep rule 'best'") as caught:
        KEEP_RULES.get("best")
    assert caught.value.hint == f"known are {', '.join(KEEP_RULES.names)}"
    for wrong, parts in (({"keep": {"rule": "best"}}, KEEP_RULES), ({"proposers": {"guess": 1.0}}, PROPOSERS)):
        with pytest.raises(ValidationError, match=f"Input should be one of {', '.join(parts.names)}"):
            Charter.model_validate(wrong)
    with pytest.raises(TaskError, match="no scorer 'beauty'"):
        scorer_of({"kind": "beauty"})
