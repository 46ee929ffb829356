"""Two studies side by side: the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONGEST, MOST_PARTS = 120, 40  # characters of a value, entries of a table that is taken apart


@dataclass(frozen=True)
class ComparedSetting:
    """``values``: of each study as text, a dash where it has none."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


def compared(configs: Sequence[Mapping[str, object]]) -> list[ComparedSetting]:
    """Every setting of these studies, those that differ first."""
    texts = [in_texts(config) for config in configs]
    names = sorted({name for known in texts for name in known})
    rows = [ComparedSetting(name, tuple(known.get(name, "–") for known in texts)) for name in names]
    return sorted(rows, key=lambda row: (not row.differs, row.name))


def in_texts(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Settings by their path, as text; long ones cut, texts of programs left out."""
    texts: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and len(value) < MOST_PARTS:
            texts |= in_texts(value, f"{prefix}{name}.")
        elif name != "programs":
            text = str(value)
            texts[prefix + name] = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return texts
