"""Changes the set of files of a program: drops one, merges two, or adds one of the second parent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from posixpath import relpath

import numpy as np

from analysis.report.evidence import Evidence
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from programs.directives import CHARTER, ORDER, Directive
from programs.edit import add_directive, without
from programs.errors import ProgramError
from programs.file_set import named_files
from programs.front_matter import locate
from programs.program import Program
from programs.structure import outline
from programs.text import split_lines

FILES = "Files"  # the section for a link to a new file
_SENTENCE = re.compile(r"(?<=[.!?…。！？])\s+(?![a-z])")  # between two sentences of a paragraph


class ChangeFiles:
    """Only for researchers that read prose: a script does the same whatever the other files say."""

    name = "change-files"
    share = 0.15
    parents = 2

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        first, second = (parent.program for parent in parents[:2])
        own = [PurePosixPath(path) for path in first.further]
        changes = {  # by kind: a file, and the one that it is merged into
            "add": [(path, "") for path in second.further if path not in dict(first.files)],
            "drop": [(path, "") for path in first.further],
            "merge": [(str(b), str(a)) for a in own for b in own if str(a) < str(b) and a.parent == b.parent],
        }
        kinds = [kind for kind, files in changes.items() if files]
        if not kinds:
            return None
        kind = kinds[int(rng.integers(len(kinds)))]
        path, into = changes[kind][int(rng.integers(len(changes[kind])))]
        try:
            if kind == "add":
                child, reason = added(first, second, path), f"file {path} of {second.name} added"
            elif kind == "drop":
                child, reason = dropped(first, path), f"file {path} dropped"
            else:
                child, reason = merged(first, path, into), f"file {path} merged into {into}"
        except ProgramError:  # markdown would parse the text around the link differently
            return None
        if child.program_id in (first.program_id, second.program_id):
            return None
        ids = parent_ids(parents[:2] if kind == "add" else parents[:1])
        return ChildProposal(child.document, self.name, reason, (), ids)


def added(program: Program, donor: Program, path: str) -> Program:
    """The program with a file of the donor and what that file links to, and a link to it in the entry file."""
    link = next((d for d in donor.directives if not d.file and d.kind == "item" and path in d.text), None)
    heading, item = FILES, f"Read and follow [{PurePosixPath(path).stem}]({path})."
    if link is not None and len([*named_files([link.text], 0, "")]) == 1:
        heading, item = link.heading or FILES, link.text
    return program.with_parts(add_directive(program.text, heading, item), donor)


def dropped(program: Program, path: str) -> Program:
    """The program without a file, and without the items and sentences that link to it or name it."""
    left = program
    while (statement := _first_statement(left, path)) is not None:
        directive, source, lines, start, end = statement
        sentences = _SENTENCE.split(" ".join(line.strip() for line in lines[start:end]))
        kept = [sentence for sentence in sentences if not _means(sentence, source, path)]
        plain = directive.kind == "paragraph" and not lines[start].lstrip().startswith(">")
        if not kept or not plain:
            left = without(left, directive.directive_id)
        elif len(kept) == len(sentences):
            raise ProgramError(f"{source}:{start + 1}: no single sentence refers to {path}")
        else:
            new = " ".join(kept) + ("\n" if lines[end - 1].endswith("\n") else "")
            left = left.with_files({source: "".join([*lines[:start], new, *lines[end:]])})
    return left.with_files({path: None}) if path in dict(left.files) else left


def merged(program: Program, path: str, into: str) -> Program:
    """The program with one file appended to another in the same folder; its links lead to that one."""
    files = {name: raw.decode("utf-8") for name, raw in program.files}
    lines = split_lines(files[path])
    body = "".join(lines[locate(lines).end :]).strip()
    if not any(heading.level == 1 for heading in outline(body).headings):
        body = f"# {PurePosixPath(path).stem}\n\n{body}"
    files[into] = f"{files[into].rstrip()}\n\n{body}\n"
    del files[path]
    changed = {name: _renamed(text, name, path, into) for name, text in files.items()}
    return program.with_files({**changed, path: None})


def _renamed(text: str, source: str, path: str, into: str) -> str:
    """The text with its references to a file as references to another. Raises ProgramError."""
    new = relpath(into, str(PurePosixPath(source).parent))
    lines = split_lines(text)
    for number, written, meant in [*named_files(lines, locate(lines).end, source)]:
        if path in meant:
            pattern = rf"(?<![\w/.\-]){re.escape(written)}(?!\w)"
            lines[number - 1] = re.sub(pattern, lambda _: new, lines[number - 1])
    changed = "".join(lines)
    if _means(changed, source, path):
        raise ProgramError(f"{source}:1: a reference to {path} cannot be renamed")
    return changed


def _means(text: str, source: str, path: str) -> bool:
    """Whether a text in the file ``source`` refers to a file."""
    lines = split_lines(text)
    return any(path in meant for _, _, meant in named_files(lines, locate(lines).end, source))


def _first_statement(program: Program, path: str) -> tuple[Directive, str, tuple[str, ...], int, int] | None:
    """The first statement that refers to a file, its own file, that file's lines, the first of the statement, and the
    one after its last."""
    for source, raw in program.files:
        if source == path:
            continue
        parsed = outline(raw.decode("utf-8"), source)
        own = "" if source == program.files[0][0] else source
        named = [d for d in program.directives if d.file == own and d.kind not in (CHARTER, ORDER)]
        for directive, block in zip(named, parsed.blocks, strict=True):
            if _means("".join(parsed.lines[block.start : block.end]), source, path):
                return directive, source, parsed.lines, block.start, block.end
    return None
