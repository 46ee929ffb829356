"""No part is larger than size.toml allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.size import budgets, core, sizes, tokens


def test_no_part_has_more_tokens_than_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    budget = budgets()
    measured = sizes(Path(__file__).parents[1], list(budget))
    print(
        *(f"{part}: {thousand:.1f} thousand tokens, {lines} lines" for part, (thousand, lines) in measured.items()),
        sep="\n",
    )
    over = {part: thousand for part, (thousand, _) in measured.items() if thousand > budget[part]}
    assert not over, "delete or merge first; House rules in CONTRIBUTING.md say when a budget may grow"


def test_every_pattern_of_the_core_names_files() -> None:
    assert all(file.suffix == ".py" for file in core())


def test_docstrings_comments_and_layout_are_no_tokens(tmp_path: Path) -> None:
    (tmp_path / "part" / "inner").mkdir(parents=True)
    dense = "def f(x):\n    return g(x, 'a')\n"
    wide = '"""Module."""\n\n\ndef f(\n    x\n):\n    """Doc."""\n    # why\n    return g(x, \'a\')\n'
    (tmp_path / "part" / "dense.py").write_text(dense)
    (tmp_path / "part" / "inner" / "wide.py").write_text(wide)
    assert tokens(tmp_path / "part" / "dense.py") == tokens(tmp_path / "part" / "inner" / "wide.py") == 13
    assert sizes(tmp_path, ["part", "part/inner"]) == {"part": (0.013, 2), "part/inner": (0.013, 9)}
