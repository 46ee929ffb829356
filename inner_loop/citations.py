"""Which directives an experiment cites."""

from __future__ import annotations

from programs.program import Program


class Citations:
    """The charter fields that a program sets, with their directive ids. Fields at their default have none."""

    def __init__(self, program: Program) -> None:
        self._ids = {
            directive.text.partition(":")[0]: directive.directive_id
            for directive in program.directives
            if directive.kind == "charter"
        }

    def cite(self, *fields: str) -> tuple[str, ...]:
        """Directive ids of the given fields that are set, in that order."""
        return tuple(self._ids[field] for field in fields if field in self._ids)


def joined(*because: tuple[str, ...]) -> tuple[str, ...]:
    """All ids once, in order."""
    return tuple(dict.fromkeys(name for ids in because for name in ids))
