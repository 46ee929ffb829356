"""The cheap checks of a proposal, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping

from arena.home import normal_form
from arena.home.chain import merged
from programs.common.errors import UsageError
from programs.common.ids import content_id
from trainer.experiment import SOURCE_BYTES
from trainer.source import Source
from trainer.task import Task


def checked_files(files: Mapping[str, str], task: Task, base: Mapping[str, str]) -> dict[str, str]:
    """The changed files of a proposal, which are not parsed. Raises UsageError with the first fault."""
    for name, text in files.items():
        if name not in task.editable:
            raise UsageError(f"{name[:80]!r} is not an editable file of the task")
        if "\0" in text:
            raise UsageError(f"{name} contains a null byte")
    whole = {**base, **files}
    if sum(len(text.encode("utf-8", "replace")) for text in whole.values()) > SOURCE_BYTES:
        raise UsageError(f"the source is larger than {SOURCE_BYTES >> 10} KB")
    if all(base.get(name) == text for name, text in files.items()):
        raise UsageError("the proposal changes nothing")
    return dict(files)


def rebased(changed: Mapping[str, str], base: Mapping[str, str], main: Mapping[str, str]) -> dict[str, str] | None:
    """The whole source of a proposal on today's main; None if both changed the same lines, or it no longer parses."""
    whole = dict(main)
    for name, text in changed.items():
        new = merged(base.get(name, ""), main.get(name, ""), text)
        if new is None:
            return None
        whole[name] = new
    try:
        normal_texts({name: whole[name] for name in changed})
    except UsageError:
        return None
    return whole


def source_of(files: Mapping[str, str]) -> Source:
    return Source(tuple(files.items()))


def normal_texts(files: Mapping[str, str]) -> dict[str, str]:
    """Each file without layout, comments and docstrings where it is Python, by a process with limits. Raises UsageError
    where one is not Python, or takes too long to parse."""
    texts = {name: text for name, text in files.items() if name.endswith(".py")}
    if not texts:
        return dict(files)
    answer = normal_form.limited_python(["-I", normal_form.__file__], texts)
    if answer is None:
        raise UsageError(f"{' and '.join(texts)}: it takes too long or too much memory to parse")
    if "fault" in answer:
        raise UsageError(answer["fault"])
    return {**files, **answer["found"]}


def files_id(files: Mapping[str, str]) -> str:
    """A hash of names and texts. Of what `normal_texts` gives, it is equal for proposals that differ in layout,
    comments and docstrings alone."""
    return content_id("s", *(part for name in sorted(files) for part in (name, files[name])))
