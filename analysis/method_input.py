"""What a method of attribution works from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from analysis.credit import DirectiveCredit, NeverFollowed
from analysis.directive_credit import directive_credits
from analysis.edit_effects import Effects
from analysis.scope import Scope


class MethodInput:
    """One task of a study, and the model of its experiments."""

    def __init__(self, scope: Scope, fitted: Callable[[], Effects]) -> None:
        self.scope = scope
        self._fitted = fitted

    @property
    def effects(self) -> Effects:
        """The mixed model of all experiments: `edits()`, `bundle(edits, on)`. It may have to be waited for."""
        return self._fitted()

    @cached_property
    def directives(self) -> tuple[list[DirectiveCredit], list[NeverFollowed]]:
        """The directives that experiments cited, and those that none did."""
        return directive_credits(self.scope, self.effects)
