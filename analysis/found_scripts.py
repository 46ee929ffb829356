"""The train.py that the last search of a study (harvest) ended with, on each task, and what its measurement shows."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.script_remarks import script_remarks
from analysis.verdict.decision import FoundScript
from analysis.wording import clean, count, decimals, estimate, interval_decimals, many, number
from programs.common.templates import jinja_environment
from trainer.rows import COUNT, EXACT

if TYPE_CHECKING:
    from jinja2 import Template

    from analysis.ledger.events import HarvestEvent
    from trainer.task import Task

TEMPLATES = Path(__file__).parent / "templates"


def found_script(task: Task, event: HarvestEvent) -> FoundScript:
    """The script of a harvest of a task."""
    noise = event.noise or ""
    has_interval = event.low != event.high and EXACT not in noise.split()
    return FoundScript(
        task=task.name, unit=task.unit, seconds=event.device_seconds_charged, experiments=event.experiments,
        gain=event.gain, low=event.low if has_interval else None, high=event.high if has_interval else None,
        n=event.n, trust=event.trust, drift=event.drift, noise=noise, start=event.start, end=event.end,
        metric=task.metric, data=task.data_noise, timed=task.timed, seeded=task.takes_seed,
        rows=task.scoring["n_rows"] if task.data_noise == COUNT else event.held_rows,
        remarks=tuple(script_remarks(task, event.files)),
    )  # fmt: skip


def script_digits(script: FoundScript) -> int:
    """Decimal places of its gain and metrics."""
    if script.low is not None:
        return interval_decimals(script.low, script.high)
    if script.is_exact and all(float(value or 0.0).is_integer() for value in (script.gain, script.start, script.end)):
        return 0
    return decimals(abs(script.gain)) if script.gain else decimals(None)


def script_sentence(script: FoundScript, subject: str, reference: str) -> str:
    """What the measurement of ``subject`` shows against ``reference``, the untouched script, in one sentence."""
    text = _template().render(s=script, digits=script_digits(script), subject=subject, reference=reference)
    return str(clean(" ".join(text.split())))


@cache
def _template() -> Template:
    page = jinja_environment(TEMPLATES)
    page.filters |= {"number": number, "many": many, "estimate": estimate, "count": count}
    return page.get_template("found_script.j2")
