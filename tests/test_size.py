"""No part is larger than size.toml allows, and no test has a longer name than CONTRIBUTING.md does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.size import core, counts, settings, sizes, tokens

ROOT = Path(__file__).parents[1]


def test_no_part_has_more_tokens_than_its_limit() -> None:
    limits = settings()["thousand_tokens"]
    over = {part: size for part, (size, _) in sizes(ROOT, list(limits)).items() if size > limits[part]["limit"]}
    assert not over, "delete or merge first; House rules in CONTRIBUTING.md say when a limit may grow"


def test_no_count_is_above_its_limit() -> None:
    listed = settings()
    assert not {
        name: number
        for name, number in counts(listed["core_roots"]).items()
        if number > listed["counts"][name]["limit"]
    }


def test_core_follows_imports_but_not_those_for_type_checkers(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    for name, text in {
        "root": "if TYPE_CHECKING:\n    from meta import typed\nimport meta.direct\n",
        "direct": "def late():\n    from meta import inside\n",
        "inside": "",
        "typed": "",
        "apart": "",
    }.items():
        (tmp_path / "meta" / f"{name}.py").write_text(text)
    assert [file.stem for file in core(["meta/root.py"], tmp_path)] == ["direct", "inside", "root"]
    with pytest.raises(ValueError, match="no such root"):
        core(["meta/gone.py"], tmp_path)


def test_docstrings_comments_and_layout_are_no_tokens(tmp_path: Path) -> None:
    (tmp_path / "part" / "inner").mkdir(parents=True)
    dense = "def f(x):\n    return g(x, 'a')\n"
    wide = '"""Module."""\n\n\ndef f(\n    x\n):\n    """Doc."""\n    # why\n    return g(x, \'a\')\n'
    (tmp_path / "part" / "dense.py").write_text(dense)
    (tmp_path / "part" / "inner" / "wide.py").write_text(wide)
    assert tokens(tmp_path / "part" / "dense.py") == tokens(tmp_path / "part" / "inner" / "wide.py") == 13
    assert sizes(tmp_path, ["part", "part/inner"]) == {"part": (0.013, 2), "part/inner": (0.013, 9)}


def test_names_of_tests_have_at_most_60_characters() -> None:
    names = [
        name for file in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    ]
    assert not [name for name in names if len(name) > 60]
