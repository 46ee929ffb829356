"""The options that state what a log omits, of every command that reads logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import click

from analysis.imports.columns import Stated
from meta.cli.options import Above0, flag, rare

MOST_ROWS = 1 << 30


@dataclass(frozen=True)
class LogFlags:
    """What the user says of a log."""

    metric: Annotated[
        str | None,
        flag("The column with the metric; of several with commas, the first that a log has.", metavar="NAME"),
    ] = None
    direction: Annotated[
        str | None, flag("Whether a lower or a higher metric is better.", type=click.Choice(["lower", "higher"]))
    ] = None
    status: Annotated[str | None, flag("The column that says what was kept.", metavar="NAME", command="import")] = None
    rows: Annotated[
        int | None,
        flag("The metric, an error rate or an accuracy, is a share of so many validation rows.", min=1, max=MOST_ROWS),
    ] = None
    noise: Annotated[
        float | None, flag("Standard deviation of one measurement.", type=Above0, metavar="SD", command="import")
    ] = None
    description: Annotated[str | None, rare("The column that says what was tried, and what is a re-run.")] = None
    kept: Annotated[str | None, rare("The words of statuses that mean kept, with commas.")] = None
    reruns: Annotated[
        str | None, rare("Whether rows with the same description are re-runs.", type=click.Choice(["words"]))
    ] = None

    def stated(self) -> Stated:
        """The same for the reader of logs."""
        return Stated(**vars(self))
