"""docs/views.md agrees with the views: every column, its type, one line each; its SQL runs."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.study import VIEWS, open_study, query

PAGE = Path(__file__).parents[2] / "docs" / "views.md"


def test_page_lists_every_column(small_study: Path) -> None:
    parts = re.split(r"^## (\w+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    listed = dict(zip(parts[1::2], parts[2::2], strict=True))
    con = open_study(small_study)
    for view in VIEWS:
        told = re.findall(r"^- `(\w+)` ([\w\[\]]+): .", listed.get(view, ""), flags=re.MULTILINE)
        assert told == [(name, kind) for name, kind, *_ in con.execute(f"DESCRIBE {view}").fetchall()], view


def test_sql_of_the_page_runs(small_study: Path) -> None:
    blocks = [block.split("```")[0] for block in PAGE.read_text(encoding="utf-8").split("```sql\n")[1:]]
    assert blocks
    for block in blocks:
        assert query(small_study, block)
