"""Parts by name: our own by their files, others by the entry points of installed packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from inner_loop import proposers
from inner_loop.researchers import find_researcher
from meta.mutators.mix import Mix, named_operators
from programs.charter import KEEP_RULES, PROPOSERS, Charter
from programs.errors import NotFound, TaskError
from programs.program import Program
from programs.registry import Registry
from trainer.scoring import SCORERS, scorer_of

PARTS = """
class Part:
    name, share, parents, per_position, needs_checkpoint, extra = "mine", 1.0, 1, False, False, 0
    def __init__(self, *made_from, **more):
        self.made_from, self.more = made_from, more
"""
GROUPS = ("proposers", "keep_rules", "mutators", "scorers", "researchers")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that adds a part "mine" of each kind, and one that would take over a name of ours."""
    (tmp_path / "mine.py").write_text(PARTS)
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = "".join(f"[metaloop.{group}]\nmine = mine:Part\n" for group in GROUPS)
    (about / "entry_points.txt").write_text(points.replace("proposers]\n", "proposers]\nrandom = mine:Part\n"))
    monkeypatch.syspath_prepend(tmp_path)
    for registry in registries():
        vars(registry).pop("added", None)
    yield
    for registry in registries():
        vars(registry).pop("added", None)


def registries() -> list[Registry[Any]]:
    from inner_loop.researchers import RESEARCHERS
    from meta.mutators.mix import MUTATORS

    return [PROPOSERS, KEEP_RULES, MUTATORS, SCORERS, RESEARCHERS]


@pytest.mark.usefixtures("installed")
def test_an_installed_package_adds_a_part_of_each_kind() -> None:
    assert all(registry.added == ("mine",) for registry in registries())
    charter = Program.parse(
        "---\nmetaloop:\n  proposers: {mine: 1, random: 1}\n  keep: {rule: mine}\n---\nGo.\n"
    ).charter
    assert list(charter.proposers) == ["random", "mine"] and charter.keep.rule == "mine"
    assert proposers.make(charter, []) is not None
    assert [m.name for m in Mix(named_operators(["write-ideas", "mine"])).operators] == ["write-ideas", "mine"]
    assert scorer_of({"kind": "mine", "classes": 2}).per_position is False
    made: Any = find_researcher("mine:more")(None, None, 3, None)
    assert made.made_from == (None, None, 3, None) and made.more == {"more": "more"}


@pytest.mark.usefixtures("installed")
def test_a_name_of_ours_is_not_taken_over() -> None:
    from inner_loop.proposers.random import make

    assert "random" not in KEEP_RULES.names and PROPOSERS.get("random") is make


@pytest.mark.parametrize("registry", registries(), ids=lambda registry: str(registry.kind))
def test_ours_are_found_by_their_files(registry: Registry[Any]) -> None:
    assert registry.built_in[: len(registry.first)] == registry.first and len(registry.built_in) >= 3
    assert all(callable(registry.get(name)) for name in registry.built_in)


def test_unknown_names_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(NotFound, match="no keep rule 'best'") as caught:
        KEEP_RULES.get("best")
    assert caught.value.hint == "known are better, margin, paired"
    with pytest.raises(ValidationError, match="Input should be 'better', 'margin' or 'paired'"):
        Charter.model_validate({"keep": {"rule": "best"}})
    with pytest.raises(TaskError, match="no scorer 'beauty'"):
        scorer_of({"kind": "beauty"})
    with pytest.raises(ValidationError, match="Input should be 'queue', 'random', 'local', 'tpe' or 'recombine'"):
        TypeAdapter(Charter).validate_python({"proposers": {"guess": 1.0}})
