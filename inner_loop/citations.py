"""Which directives an experiment is owed to."""

from __future__ import annotations

from programs.program import Program


class Citations:
    """The charter fields that a program sets, by their directive ids; fields left at their default are nobody's."""

    def __init__(self, program: Program) -> None:
        self._ids = {
            directive.text.partition(":")[0]: directive.directive_id
            for directive in program.directives
            if directive.kind == "charter"
        }

    def cite(self, *fields: str) -> tuple[str, ...]:
        """Directive ids of those fields that are set, in the order asked for."""
        return tuple(self._ids[field] for field in fields if field in self._ids)


def joined(*because: tuple[str, ...]) -> tuple[str, ...]:
    """All ids once, in order."""
    return tuple(dict.fromkeys(name for ids in because for name in ids))
