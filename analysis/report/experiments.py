"""The experiments of a report with their diffs; of many, the kept ones and a sample of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from programs.common.text import word_list

MOST = 6_000  # rows on the page
DIFFS = 900_000  # characters of diffs on the page; equal diffs count once
COLUMNS = word_list("id run line number program decision status metric gain seconds what why cites diff")


def embedded(rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> dict[str, Sequence[object]]:
    """The rows as lists, with repeated texts stored once; ``texts``: of the directives."""
    words, diffs, cites = TextPool(), TextPool(DIFFS), TextPool()
    table = [
        [
            row["experiment_id"],
            words.put(row["run_id"]),
            row["line"],
            row["number"],
            *(words.put(row[name]) for name in ("program", "decision", "status")),
            *(rounded(row[name]) for name in ("metric", "gain", "seconds")),
            words.put(row["description"]),
            words.put(row["reason"]),
            [cites.put(texts.get(directive_id, directive_id)) for directive_id in row["directive_ids"] or ()],
            diffs.put(body(row["diff"])),
        ]
        for row in rows
    ]
    return {"columns": COLUMNS, "rows": table, "words": words.texts, "cites": cites.texts, "diffs": diffs.texts}


class TextPool:
    """Numbers texts and stores each once; -1 stands for no text and for texts beyond a total of ``most`` characters."""

    def __init__(self, most: int | None = None) -> None:
        self.texts: list[str] = []
        self._most = most
        self._size = 0
        self._numbers: dict[str, int] = {}

    def put(self, text: str | None) -> int:
        if not text:
            return -1
        if text not in self._numbers:
            if self._most is not None and self._size + len(text) > self._most:
                return -1
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
            self._size += len(text)
        return self._numbers[text]


def body(diff: str | None) -> str:
    """A diff without the two lines that name the file, if it is of a single file."""
    lines = (diff or "").splitlines()
    heads = sum(1 for line in lines if line.startswith("--- "))
    return "\n".join(lines[2:] if heads == 1 and len(lines) > 2 and lines[0].startswith("--- ") else lines)


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.7g}")
