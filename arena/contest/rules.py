"""The rules of a contest: one text, written when it is created and committed to by its hash."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.wording import duration, many
from arena.contest.settings import ContestConfig
from arena.serving.clock import shown
from programs.templates import jinja_environment

if TYPE_CHECKING:
    from jinja2 import Template

    from arena.settings import StudyConfig
    from trainer.task import Task


def rules_text(config: ContestConfig, study: StudyConfig, task: Task) -> str:
    """The text of the rules, with every number that the decision depends on."""
    return _template().render(contest=config, study=study, task=task, duration=duration, many=many, shown=shown)


@cache
def _template() -> Template:
    return jinja_environment(Path(__file__).with_name("templates"), whole=True).get_template("rules.md.j2")
