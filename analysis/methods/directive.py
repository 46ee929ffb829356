"""What the changes that cite a directive gain per device-second (`analysis.directive_credit`)."""

from __future__ import annotations

from analysis.credit import DirectiveCredit
from analysis.method_input import MethodInput


def make(known: MethodInput) -> list[DirectiveCredit]:
    return known.directives[0]
