"""A program without one of its files."""

from __future__ import annotations

import re

from programs.common.errors import ProgramError
from programs.common.text import split_lines
from programs.directives import CHARTER, ORDER, Directive
from programs.edit import without
from programs.file_set import named_files
from programs.front_matter import locate
from programs.program import Program
from programs.structure import outline

_SENTENCE = re.compile(r"(?<=[.!?…。！？])\s+(?![a-z])")  # between two sentences of a paragraph


def drop_file(program: Program, path: str) -> Program:
    """The program without a file, and without the items and sentences that link to it or name it."""
    left = program
    while (statement := _first_statement(left, path)) is not None:
        directive, source, lines, start, end = statement
        sentences = _SENTENCE.split(" ".join(line.strip() for line in lines[start:end]))
        kept = [sentence for sentence in sentences if not _refers_to(sentence, source, path)]
        plain = directive.kind == "paragraph" and not lines[start].lstrip().startswith(">")
        if not kept or not plain:
            left = without(left, directive.directive_id)
        elif len(kept) == len(sentences):
            raise ProgramError(f"{source}:{start + 1}: no single sentence refers to {path}")
        else:
            new = " ".join(kept) + ("\n" if lines[end - 1].endswith("\n") else "")
            left = left.with_files({source: "".join([*lines[:start], new, *lines[end:]])})
    return left.with_files({path: None}) if path in dict(left.files) else left


def _refers_to(text: str, source: str, path: str) -> bool:
    """Whether a text in the file ``source`` refers to a file."""
    lines = split_lines(text)
    return any(path in paths for _, _, paths in named_files(lines, locate(lines).end, source))


def _first_statement(program: Program, path: str) -> tuple[Directive, str, tuple[str, ...], int, int] | None:
    """The first statement that refers to a file, its own file, that file's lines, the first of the statement, and the
    one after its last."""
    for source, raw in program.files:
        if source == path:
            continue
        document = outline(raw.decode("utf-8"), source)
        file = "" if source == program.files[0][0] else source
        directives = [d for d in program.directives if d.file == file and d.kind not in (CHARTER, ORDER)]
        for directive, block in zip(directives, document.blocks, strict=True):
            if _refers_to("".join(document.lines[block.start : block.end]), source, path):
                return directive, source, document.lines, block.start, block.end
    return None
