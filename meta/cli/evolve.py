"""``metaloop evolve`` and ``metaloop improve``: the outer loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from meta.cli import driver
from meta.cli.commands import verb
from meta.cli.evolve_draft import EvolveFlags, draft_evolution
from meta.cli.flags import Programs
from meta.cli.new_study import new_folder
from meta.cli.options import argument
from meta.cli.output import Output
from meta.cli.progress import if_slow

PLANNING = "planning: reading the task and what was learnt on other tasks"


@verb(
    ("metaloop evolve --quick", "offline, on CPU, no key; 2 to 3 minutes on 2 idle cores"),
    ("metaloop evolve -r scripted -m gpt-4o-mini", "a model writes programs, a script follows them"),
    ("metaloop evolve -t tabular,strokes --reserve letters", "one program for two tasks, tested on a third"),
)
def evolve(out: Output, programs: Programs, flags: EvolveFlags) -> None:
    """Race programs (the starters that come with Metaloop, or the PROGRAMs given) and estimate
    how much each of their sentences contributes. Write better programs from these
    estimates. At the end, test the best program (the champion) on fresh seeds against
    stock, the plain keep-if-better loop. One PROGRAM is improved: only it and its
    descendants can become the champion, and it is tested against your program."""
    start_evolution(out, programs, flags)


@verb(
    ("metaloop improve my/program.md", "ends with champion.md, its evidence and the diff"),
    ("metaloop improve my/program.md --quick --dry-run", "prints the plan and its cost"),
    ("metaloop improve my/program.md -t my/repo --budget 8h", "a night on your own repository"),
)
def improve(out: Output, program: Annotated[str, argument()], flags: EvolveFlags) -> None:
    """Evolve from your own program: the same as metaloop evolve PROGRAM."""
    start_evolution(out, [program], flags)


def start_evolution(out: Output, paths: Sequence[str], flags: EvolveFlags) -> None:
    """``paths``: the user's programs as they were typed."""
    with if_slow(out, PLANNING):
        draft, task = draft_evolution(out, paths, flags)
        folder = new_folder(flags.study, task)
    driver.start(out, draft, folder, flags.start, flags.ending)
