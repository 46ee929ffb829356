"""Which directives an experiment cites."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from programs.program import Program


class Citations:
    """The charter fields that a program sets, with their directive ids. Fields at their default have none."""

    def __init__(self, program: Program) -> None:
        self._ids = {
            directive.text.partition(":")[0]: directive.directive_id
            for directive in program.directives
            if directive.kind == "charter"
        }

    def within(self, phase: Iterable[str]) -> Citations:
        """The citations in a phase: of its fields, given here, it is the directive of the phases that is cited."""
        inner = copy(self)
        inner._ids = self._ids | dict.fromkeys(phase, self._ids.get("phases", ""))
        return inner

    def cite(self, *fields: str) -> tuple[str, ...]:
        """Directive ids of the given fields that are set, in that order."""
        return tuple(self._ids[field] for field in fields if field in self._ids)


def joined(*because: tuple[str, ...]) -> tuple[str, ...]:
    """All ids once, in order."""
    return tuple(dict.fromkeys(name for ids in because for name in ids))
