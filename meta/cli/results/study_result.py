"""The result of ``metaloop evolve`` and ``metaloop improve``: the verdict, its table, and the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meta.cli import resolve
from meta.cli.output import Column, Output
from meta.cli.results.longer import longer

if TYPE_CHECKING:
    from analysis.verdict.decision import Decision
    from analysis.verdict.verdict import Verdict
    from arena.settings import StudyConfig

NAMED = """
SELECT program_id, details ->> 'name' AS name, (details ->> 'holds')::BOOLEAN AS holds FROM champions
ORDER BY named_at DESC LIMIT 1
"""
LEFT = ("program", "role", "95% interval", "champion minus it")


def present(out: Output, folder: Path, applies: bool = False) -> list[str]:
    """Show the verdict and the files of a study; returns the commands that go on from here. ``applies``: what was found
    is committed next, so that no command does that.
    """
    from analysis.verdict.verdict import VIEWS, verdict_of
    from arena.settings import StudyConfig

    config = StudyConfig.read(folder / resolve.MARK)
    with resolve.connect(folder, VIEWS) as con:
        found = verdict_of(con)
        named = resolve.fetch(con, NAMED)
    shown, files = resolve.shown(folder), files_of(Path(resolve.shown(folder)))
    if out.mode == "json":
        champion = named[0] if named else {}
        out.json({"study": shown, **champion, "researcher": config.researcher, "files": files, **found.record()})
        return []
    show(out, found, shown, files)
    if found.decision is None:
        return []
    return _going_on(folder, config, found.decision, applies)


def show(out: Output, found: Verdict, study: str, files: dict[str, str]) -> None:
    """The verdict at a terminal or piped: what it rests on, the table, the sentences, what weakens it, the files."""
    from analysis.wording import plain_text

    doubts = "; ".join(caveat.title for caveat in found.caveats if caveat.level != "note")
    table = [{key: plain_text(value) for key, value in row.items()} for row in found.table]
    if out.mode == "plain":
        named = {"study": study, "verdict": plain_text(found.headline), "cost": found.cost, "mind": doubts}
        out.thing({key: value for key, value in named.items() if value})
        for sentence in found.sentences[1:]:
            out.thing({"found": plain_text(sentence)})
        out.thing(files)
        out.rows(table, [Column(key) for key in table[0]] if table else [])
        return
    trust = f"; scores {found.trust}" if found.trust else ""
    out.text(f"\n{study}   {found.cost}{trust}\n")
    if table:
        shown = [
            Column(key, right=key not in LEFT, wrap=key == "program", optional=key == LEFT[-1]) for key in table[0]
        ]
        out.rows(table, shown)
        out.text("")
    for sentence in found.sentences:
        out.text(plain_text(sentence))
    if doubts:
        out.text(f"\nmind: {doubts}.")
    out.text("\n" + "\n".join(f"{name:10} {path}" for name, path in files.items()))


def files_of(shown: Path) -> dict[str, str]:
    """What the study has written, by what it is."""
    files = {"champion": str(shown / "champion.md"), "evidence": str(shown / "champion.evidence.md")}
    if (shown / "champion").is_dir():
        files["its files"] = str(shown / "champion")
    if best := next(iter(sorted(shown.glob("best*"))), None):
        files["train.py"] = str(best)
    return files


def _going_on(folder: Path, config: StudyConfig, decision: Decision, applies: bool) -> list[str]:
    """The commands that go on from a study."""
    apply = [] if applies else ready_to_apply(config, folder, resolve.typed(folder), worth_applying(decision))
    return [*apply, *longer(folder, config, decision), f"metaloop report {resolve.typed(folder)}"]


def worth_applying(decision: Decision) -> bool:
    """Whether ``--apply`` would commit something: the program, or a train.py of the first task, whose gain is above
    zero."""
    return decision.holds or decision.script is not None


def ready_to_apply(config: StudyConfig, folder: Path, name: str, worth: bool = True) -> list[str]:
    """How to use the result: commit an improvement on a branch of the task's repository, if it is ``worth`` that; give
    the champion, as prose, to an agent of one's own. A built-in task is copied first, because its train.py is inside
    Metaloop."""
    from inner_loop.agents.recipe import FOLLOWS, own_agent
    from meta.results.agent_text import copied_first, copying

    repository = Path(config.task)
    inside = repository.is_dir() and any((parent / ".git").exists() for parent in (repository, *repository.parents))
    apply = [f"metaloop improve --resume {name} --apply"] if config.command == "improve" and inside and worth else []
    if not (folder / "champion.md").is_file():
        return apply
    several = (folder / "champion").is_dir()
    at = f"{config.task}/" if copying(config.task) else ""
    target = resolve.unused(f"{at}champion-prose{'.md' * (not several)}")
    prompt = f"Read {'the files in ' * several}{Path(target).name} and follow {'them' if several else 'it'}"
    agent = own_agent(prompt, config.researcher.removeprefix("command:"))
    agent = f"cd {at} && {agent}" if at else agent
    apply += copied_first(config.task)
    return [*apply, f"metaloop export {name} --for agent -o {target}", f"{agent}  # {FOLLOWS}"]
