"""No part is larger than size.toml allows, and no test has a longer name than CONTRIBUTING.md does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.size import core, counts, settings, sizes, tokens

ROOT = Path(__file__).parents[1]


def test_no_part_and_no_count_is_above_its_limit() -> None:
    listed = settings()
    found = {part: size for part, (size, _) in sizes(ROOT, list(listed["thousand_tokens"])).items()}
    found |= counts(listed["core_roots"])
    limits = {name: row["limit"] for name, row in (listed["thousand_tokens"] | listed["counts"]).items()}
    over = {name: size for name, size in found.items() if size > limits[name]}
    assert not over, "delete or merge first; House rules in CONTRIBUTING.md say when a limit may grow"


def test_core_follows_imports_but_not_those_for_type_checkers(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    root = "if TYPE_CHECKING:\n    from meta import typed\nimport meta.direct\n"
    files = {
        "root": root,
        "direct": "def late():\n    from meta import inside\n",
        "inside": "",
        "typed": "",
        "apart": "",
    }
    for name, text in files.items():
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
    texts = [file.read_text() for file in (ROOT / "tests").rglob("*.py")]
    assert not [name for text in texts for name in re.findall(r"def (test_\w+)", text) if len(name) > 60]
