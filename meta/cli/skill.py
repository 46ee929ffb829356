"""``metaloop skill``: a page that teaches a coding agent to use Metaloop, made from the command tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from meta.cli.options import argument, flag, noun, verb
from meta.cli.output import Output
from meta.cli.table import SECTIONS, VERBS
from programs.errors import UsageError

FOLDER = ".claude/skills/metaloop"
HEAD = Path(__file__).parents[1] / "templates" / "skill.md"


@noun(("metaloop skill show", "the page"), ("metaloop skill add", f"writes it to {FOLDER}/SKILL.md"))
def skill() -> None:
    """A page that teaches a coding agent (Claude Code, codex and others that read SKILL.md) to
    use Metaloop."""


def page() -> str:
    """The page: how to work with the commands, and each of them in a line."""
    parts = [HEAD.read_text("utf-8")]
    for section in SECTIONS:
        lines = [f"- `metaloop {entry.name}`: {entry.help}" for entry in VERBS.values() if entry.section == section]
        parts.append("\n".join([f"**{section}**", "", *lines, ""]))
    return "\n".join(parts)


@verb(("metaloop skill show", "the page"), ("metaloop skill show > SKILL.md", "into a file"))
def show(out: Output) -> None:
    """Print the page."""
    out.text(page().rstrip("\n"))


@verb(("metaloop skill add", "for agents in this folder"), ("metaloop skill add ~", "for all your agents"))
def add(
    out: Output,
    folder: Annotated[str, argument(metavar="[FOLDER]", default=".")],
    force: Annotated[bool, flag("Replace a page that was changed.")],
) -> None:
    """Write the page where a coding agent finds it, below this folder."""
    path = Path(folder).expanduser() / FOLDER / "SKILL.md"
    if path.exists() and path.read_text("utf-8") != page() and not force:
        raise UsageError(f"{path} is there and differs", hint="--force replaces it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), "utf-8")
    out.note(f"wrote {path}")
    if out.mode == "json":
        out.json({"path": str(path)})


for command in (show, add):
    skill.add_command(command)
