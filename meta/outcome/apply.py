"""Writes what a study found into the repository of its task, as a branch: the program and the train.py. Nothing of the
working tree, its index or the current branch changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.found_scripts import FoundScript, script_sentence
from analysis.study import read_study
from analysis.verdict.decision import decision_of
from analysis.verdict.verdict import VIEWS, verdict_of
from analysis.wording import listed, number, plain_text
from arena.harvest import HARVEST
from arena.study import Study
from meta.outcome.agent_text import for_agents, with_code_changes
from meta.outcome.evidence_page import training_cost
from meta.outcome.rewriting import edit_of
from programs.charter_prose import with_sentences
from programs.errors import NotFound, UsageError
from programs.folder import entry_of
from programs.safe_git import BorrowedRepository, repository_above
from trainer.source import Source
from trainer.task import Task

if TYPE_CHECKING:
    from analysis.ledger.events import HarvestEvent
    from programs.program import Program

ALL_THE_SAME = "--set data_noise=unknown"
PATH = "path"  # in the plan of study.toml: the file of the user's program


@dataclass(frozen=True)
class Applied:
    """The branch, its files by what they hold, and why something was left out."""

    repository: Path
    branch: str
    files: Mapping[str, str]
    left_out: tuple[str, ...]


class NothingToApply(UsageError):
    """A result too: neither the program nor the train.py is shown to be better."""


def apply(study: Study, unknown_noise: bool = False) -> Applied:
    """Commit the champion and the best train.py, each if it is shown to be better, on a branch ``metaloop/STUDY`` of
    the task's repository, on top of HEAD. ``unknown_noise``: also a train.py with a gain where it is not known whether
    that holds on other data.

    Raises NotFound before the study has a champion, UsageError where the task is in no repository, NothingToApply where
    there is nothing to commit.
    """
    event = study.state.champion
    if event is None:
        raise NotFound(f"{study.folder} has no champion yet", hint=f"finish it first: metaloop resume {study.folder}")
    with repository_of(study.task) as (root, repository):
        home = home_of(study.task)
        files, left_out, texts = dict[str, tuple[str, bytes]](), list[str](), list[str]()  # texts: of what is committed
        title = ""
        decision, program = decision_of(event.body), study.program(str(event.body["program_id"]))
        with read_study(study.folder, views=VIEWS) as con:
            found = verdict_of(con)
        if decision.has_new_program:
            files |= program_files(study, program, program_path(study, root))
            texts.append(plain_text(found.text))
        else:
            texts += map(plain_text, found.warnings)
            why = "acts like yours" if decision.holds else "did not gain significantly more"
            left_out.append(f"the new program, because it {why}")
        best = study.state.harvests.get((study.task.name, HARVEST))
        if best is None:
            pass  # there is none but the untouched one
        elif why := not_shown(FoundScript.of(study.task, best), unknown_noise):
            left_out.append(f"the best train.py, because {why}")
        elif decision.added_nothing and study.config.from_study:
            left_out.append(
                f"the best train.py, because this night added nothing to main of {study.config.from_study.folder}"
            )
        else:
            inside, copied = home.relative_to(root), study.task.baseline()
            source = head_source(repository, inside, study.task)
            if study.task.repository and (
                changed := [name for name, text in copied.files if source.text(name) != text]
            ):
                left_out.append(f"the best train.py, because {changed[0]} has changed there since the task was copied")
            else:
                files |= {name: (str(inside / name), text.encode()) for name, text in best.files}
                texts.insert(0, of_script(study, best, source))
                title = values_of(FoundScript.of(study.task, best))
        if not files:
            raise NothingToApply(
                f"nothing of this study is good enough to apply: {'; '.join(left_out)}",
                hint=f"see {study.folder / 'champion.evidence.md'}",
            )
        message = "\n\n".join((f"metaloop: {' and '.join(files)}{title} of study {study.folder.name}", *texts)) + "\n"
        branch = committed(repository, f"metaloop/{study.folder.name}", dict(files.values()), message)
        return Applied(root, branch, {what: path for what, (path, _) in files.items()}, tuple(left_out))


def of_script(study: Study, best: HarvestEvent, source: Source) -> str:
    """What the commit of the best train.py gains, how that was measured, what it costs, and its edits of ``source``."""
    task = study.task
    edit, is_all = edit_of(task, source, best)
    edits = [edit.label()] if edit else []
    edits += [] if is_all else ["changes of the code"]
    names = listed([name for name, _ in best.files])
    lines = (
        plain_text(script_sentence(FoundScript.of(task, best), names, "the untouched one")),
        f"Scores: {best.trust}." if best.trust else "",
        training_cost(study.state, task.name),
        f"Edits: {listed(edits)}",
    )
    return "\n".join(filter(None, lines))


def values_of(script: FoundScript) -> str:
    """`` (val_err 0.24 → 0.22)``: the metric of the untouched script and of this one; empty if it is not recorded."""
    if script.start is None or script.end is None:
        return ""
    return plain_text(f" ({script.metric} {number(script.start, script.digits)} → {number(script.end, script.digits)})")


def not_shown(script: FoundScript, unknown_noise: bool) -> str:
    """Why a train.py is not committed; empty where it is. ``unknown_noise``: see `apply`."""
    if script.is_better:
        return ""
    if script.new_seed:
        return "its only change is a seed"
    if not script.has_unknown_noise or (script.gain or 0.0) <= 0:
        return "its gain is not shown to be above zero"
    return "" if unknown_noise else f"it is not known whether its gain holds on other data ({ALL_THE_SAME} commits it)"


def home_of(task: Task) -> Path:
    """The folder that a task is about: its own, or the one that it was copied from."""
    return Path(task.repository or task.folder).resolve()


def head_source(repository: BorrowedRepository, inside: Path, task: Task) -> Source:
    """The editable files in the last commit, on top of which the branch is made; one that it lacks as in the task."""
    source = task.baseline()
    for name, _ in source.files:
        content = repository.file(repository.head, (inside / name).as_posix())
        if content is not None:
            source = source.with_text(name, content.decode("utf-8", "replace"))
    return source


@contextmanager
def repository_of(task: Task) -> Iterator[tuple[Path, BorrowedRepository]]:
    """The work tree of a task, and its repository. Raises UsageError where it has none with a commit, or Corrupt."""
    home = home_of(task)
    root = repository_above(home)
    if root is not None and (root / ".git").exists():
        with BorrowedRepository.open(root, follow=True) as repository:
            if repository.head:
                yield root, repository
                return
    raise UsageError(
        f"{home} is in no git repository with a commit and a work tree, so there is nowhere to make a branch",
        hint="use champion.md and best_train.py in the study's folder",
    )


def program_files(study: Study, program: Program, entry: str) -> dict[str, tuple[str, bytes]]:
    """The entry file, and the files beside it that are not as in the user's program: name → (path, text)."""
    files = {
        "program": (entry, with_sentences(with_code_changes(for_agents(program.text, study.task), study.task)).encode())
    }
    origin = study.config.plan.get("origin")
    before = study.program(str(origin)).further if origin else {}
    for name, text in program.further.items():
        if before.get(name) != text:
            path = str(Path(entry).parent / name)
            files[path] = path, for_agents(text, study.task).encode()
    return files


def program_path(study: Study, root: Path) -> str:
    """Where the user's program lies in the repository; its name at the root if it lies elsewhere."""
    path = Path(str(study.config.plan.get(PATH) or "program.md"))
    path = entry_of(path) if path.is_dir() else path
    copy = study.task.folder.resolve()
    path = home_of(study.task) / path.relative_to(copy) if path.is_relative_to(copy) else path
    return str(path.relative_to(root)) if path.is_absolute() and path.is_relative_to(root) else path.name


def committed(repository: BorrowedRepository, branch: str, files: Mapping[str, bytes], message: str) -> str:
    """The name of the branch with these files on top of HEAD; one that is there with other content is not changed."""
    tree, name, number = repository.write_tree(files, repository.head), branch, 1
    while (present := repository.resolve(f"refs/heads/{name}^{{tree}}")) not in ("", tree):
        number += 1
        name = f"{branch}-{number}"
    if not present:
        commit = repository.write_commit(tree, repository.head, message, repository.identity())
        repository.git("update-ref", f"refs/heads/{name}", commit, "")  # which must not be there
    return name
