"""Checks a program for mistakes before it runs."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from programs.charter import Charter
from programs.common.errors import ProgramError
from programs.common.text import is_blank, one_line
from programs.directives import CHARTER, ORDER
from programs.file_set import is_about_repository, named_files
from programs.front_matter import locate
from programs.ideas import split
from programs.measured import measured_like
from programs.patches import ProgramPatch, named_in
from programs.program import Program
from programs.roles import addressee, roles
from programs.structure import PATH, Outline, in_ideas, outline

if TYPE_CHECKING:
    from pydantic import JsonValue

Level = Literal["error", "warning", "info"]
Finding = tuple[int, str, *tuple[object, ...]]  # line from 1, code, and the values in its message

#: every code: its level and its message
CODES: dict[str, tuple[Level, str]] = {
    "unreadable": ("error", "{}"),
    # settings
    "settings-ignored": (
        "warning",
        "{} is ignored: settings stand indented below a line metaloop:, between two lines of three hyphens (---) at the"
        " top of the file",
    ),
    "no-effect": ("warning", "{} has no effect: {}"),
    # ideas
    "ideas-not-queued": (
        "info",
        "the setting proposers does not contain queue: a scripted researcher ignores these ideas; "
        "`metaloop: {{proposers: {{queue: 0.9, local: 0.1}}}}` in the front matter makes it try them",
    ),
    "no-list": ("info", "the Ideas section has no list"),
    "heading-not-ideas": ("warning", "the list below {} is not read as ideas: name the heading Ideas"),
    "code-no-idea": ("info", "code in the list of ideas is not an idea: write its edits in backticks"),
    "no-edit": ("info", "no edit in backticks: only an LLM can follow this idea"),
    "open-backtick": ("warning", "a backtick without a second one: an edit stands between two, as in `NAME=VALUE`"),
    "set-twice": ("warning", "sets {} twice; the last value is used"),
    "unknown-term": ("warning", "{}: idea skipped"),
    "unknown-role": ("info", "no role is called {}, so every role may get this idea; the roles are {}"),
    "bad-patch": ("warning", "patch {} is ignored: {}"),
    "unused-patch": ("info", "no idea names `patch:{}`"),
    "misfit": ("warning", "patch {} does not fit the untouched script ({}): skipped until it does"),
    "no-patch": ("warning", "the program defines no usable patch `patch:{}`: idea skipped"),
    # the whole program
    "like-stock": (
        "info",
        "no settings and no ideas: the scripted researcher runs it like stock; only models and agents read prose",
    ),
    "no-prose": ("warning", "the program has no statements: only a scripted researcher can follow it"),
    "measured": ("info", "like {!r}, which was measured: {}"),
    "open-fence": ("warning", "this code block is not closed: it contains the rest of the text"),
    "not-entry": ("warning", "{} of this file are ignored: only those of the entry file {} are read"),
    "no-file": ("info", "names {}, which is no file of the program"),
}
_MOST_MESSAGE = 300  # characters of a message, which quotes the program
_KEY = re.compile(r"^[\"']?([A-Za-z][\w-]{3,15})[\"']?[ \t]*:(?=[ \t\r\n]|$)")
_NEARLY_OURS = re.compile(r"^[\"']?meta[-_ ]?loop[\"']?[ \t]*:[ \t]*(?:\{.*)?$", re.IGNORECASE)
_NEARLY_IDEAS = re.compile(r"\W*(?:(?:my|our|the|some) )?ideas?(?: to try)?\W*", re.IGNORECASE)
_COMMON = {"version", "history", "focus", "screen", "confirm"}  # settings that other tools may have


@dataclass(frozen=True)
class LintMessage:
    line: int  # from 1
    level: Level
    code: str
    message: str
    file: str = ""  # of the program; empty: its entry file

    def record(self) -> dict[str, JsonValue]:
        """As JSON; without ``file`` for the entry file."""
        return {key: value for key, value in asdict(self).items() if key != "file" or value}


def _message(line: int, code: str, *values: object, file: str = "") -> LintMessage:
    """What CODES says of these values, which may be a stranger's text, on one line."""
    level, template = CODES[code]
    return LintMessage(line, level, code, one_line(template.format(*values), _MOST_MESSAGE), one_line(file))


def _no_task(_: object) -> str:
    return ""


def lint(
    program: Program,
    unread: Callable[[str], str] = _no_task,
    misfit: Callable[[ProgramPatch], str] = _no_task,
) -> list[LintMessage]:
    """Messages by file, in the order of their lines. ``unread(term)``: why the task cannot read it, empty if it can;
    ``misfit(patch)``: why a patch does not fit the task's script."""
    parsed = outline(program.text)
    findings = [
        *_charter(program),
        *_ideas(program, unread),
        *_lists(program, parsed),
        *_patches(program, misfit),
        *_whole(program, parsed),
        *_text(program, parsed, ""),
        *_measured(program, ""),
    ]
    messages = [_message(*finding) for finding in findings]
    for path, text in program.further.items():
        messages += [_message(*finding, file=path) for finding in _further(program, path, outline(text))]
    return sorted(messages, key=lambda m: (m.file, m.line, m.code))


def check(raw: str | bytes, file: str, *of_task: Callable[[Any], str]) -> list[LintMessage]:
    """Like ``lint``, for any text: the error of one that is not a valid program."""
    try:
        return lint(Program.parse(raw, file), *of_task)
    except ProgramError as error:
        parts = re.match(r"(?:(.*?):)?(\d+): (.*)", error.message.removeprefix(f"{file}:"), re.DOTALL)
        where, line, text = parts.groups() if parts else ("", 1, error.message)
        return [_message(int(line), "unreadable", text, file=where or "")]


def _charter(program: Program) -> Iterator[Finding]:
    """Settings that have no effect, and why."""
    charter = program.charter
    screens = charter.screen.fraction < 1
    rows = (
        ("keep.margin", charter.keep.rule != "margin", "keep.rule is not margin"),
        ("keep.pairs", charter.keep.rule != "paired", "keep.rule is not paired"),
        ("screen.promote", not screens, "screen.fraction is 1, so there is no screening"),
        (
            "screen.fraction",
            screens and charter.wave == 1,
            "a wave of 1 has nothing to rank, so every candidate is promoted",
        ),
        (
            "proposers",
            charter.has_queue and not any(idea.terms for idea in program.ideas),
            "it contains queue, but no idea names an edit in backticks",
        ),
        ("standups", len(roles(program)) < 2, "the program has fewer than two roles"),
    )
    for field, is_idle, reason in rows:
        if is_idle and field in program.settings.set_fields:
            yield program.settings.lines[field], "no-effect", field, reason


def _ideas(program: Program, unread: Callable[[str], str]) -> Iterator[Finding]:
    queued = program.charter.has_queue
    if any(i.terms for i in program.ideas) and not queued:
        yield program.ideas[0].line, "ideas-not-queued"
    patch_names, known = {patch.edit_name for patch in program.patches}, roles(program)
    for idea in program.ideas:
        if _has_open_backtick(idea.text):
            yield idea.line, "open-backtick"
        elif not idea.terms:
            yield idea.line, "no-edit"
        if len(known) > 1 and idea.role and addressee(idea.role, known) is None:
            yield idea.line, "unknown-role", idea.role, ", ".join(role.name for role in known)
        names = Counter(re.split(r"[=:]", term)[0].strip().casefold() for term in idea.terms if "=" in term)
        yield from ((idea.line, "set-twice", name) for name, count in names.items() if count > 1)
        for term in (*idea.terms, *map(str, idea.conditions)):
            if name := named_in(term):
                yield idea.line, "no-patch", name
            elif term not in patch_names and (why := unread(term)):
                yield idea.line, "unknown-term", why


def _has_open_backtick(text: str) -> bool:
    """Whether an edit lacks one of its backticks; one that is escaped, or stands for an apostrophe, is none."""
    rest = re.sub(r"\\`|(?<!\w)`[^`\n]*`|(?<=[^\W\d])`(?=[^\W\d])", "", text)
    return "``" not in text and rest.count("`") % 2 == 1


def _lists(program: Program, parsed: Outline) -> Iterator[Finding]:
    """Lists that are not read as ideas, and what is no idea in those that are."""
    for block in parsed.blocks:
        if block.kind == "code" and in_ideas(block.heading) and "patch:" not in parsed.lines[block.start]:
            yield block.start + 1, "code-no-idea"
    if program.ideas:
        return
    if any(in_ideas(h.path) for h in parsed.headings):
        yield 1, "no-list"
    listed = (b for b in parsed.blocks if b.kind == "item" and any("=" in term for term in split(b.terms)[0]))
    with_edits = tuple(b.heading + PATH for b in listed)
    for heading in parsed.headings:
        if _NEARLY_IDEAS.fullmatch(heading.title) and any(path.startswith(heading.path + PATH) for path in with_edits):
            yield heading.start + 1, "heading-not-ideas", heading.title


def _patches(program: Program, misfit: Callable[[ProgramPatch], str]) -> Iterator[Finding]:
    named_terms = {term for idea in program.ideas for term in idea.terms}
    for patch in program.patches:
        if patch.problem:
            yield patch.line, "bad-patch", patch.name, patch.problem
            continue
        if patch.edit_name not in named_terms:
            yield patch.line, "unused-patch", patch.name
        if why := misfit(patch):
            yield patch.line, "misfit", patch.name, why


def _whole(program: Program, parsed: Outline) -> Iterator[Finding]:
    if all(d.kind in (CHARTER, ORDER) for d in program.directives):
        yield parsed.body + 1, "no-prose"
    elif not program.ideas and not program.settings.set_fields:
        yield 1, "like-stock"


def _text(program: Program, parsed: Outline, path: str) -> Iterator[Finding]:
    """Findings about the text of any file."""
    inside = set[int]()
    for block in (b for b in parsed.blocks if b.kind == "code"):
        first, *rest = parsed.lines[block.start : block.end]
        fence = first.lstrip(" \t>")[:3]
        if fence in ("```", "~~~") and fence not in "".join(rest):
            yield block.start + 1, "open-fence"
        inside.update(range(block.start, block.end))
    ignored = ((at + 1, "settings-ignored", key) for at, key in _ignored(parsed) if at not in inside)
    yield from islice(ignored, 1)  # the others follow from it
    known = {name for name, _ in (*program.files, *program.living)}
    for line, named_file, candidates in named_files(parsed.lines, parsed.body, path):
        if not known & set(candidates) and not any(map(is_about_repository, [named_file, *candidates])):
            yield line, "no-file", named_file


def _measured(program: Program, path: str) -> Iterator[Finding]:
    """The statements of a file that resemble one whose effect on a model was measured."""
    for directive in program.directives:
        is_prose = directive.file == path and directive.kind not in (CHARTER, ORDER, "idea", "code")
        if is_prose and (measured := measured_like(directive.text)):
            yield directive.line, "measured", measured.text, measured.summary


def _ignored(parsed: Outline) -> Iterator[tuple[int, str]]:
    """Lines that look like settings and are none, with their keys: in the front matter, in the lines below it up to an
    empty one, and further below those that look like the key metaloop."""
    start, end = locate(parsed.lines).block or (0, 0)
    at_top, names = True, Charter.model_fields.keys() - _COMMON
    for i, line in enumerate(parsed.lines):
        at_top &= i < parsed.body or not (is_blank(line) or line.startswith(("#", "---")))
        key = _KEY.match(line) if at_top else None
        nearly = key and difflib.get_close_matches(re.sub(r"\W|_", "", key[1]).lower(), ["metaloop"], 1, 0.75)
        if not start <= i < end and (_NEARLY_OURS.match(line.strip()) or nearly or (key and key[1] in names)):
            yield i, key[1] if key else "metaloop"


def _further(program: Program, path: str, parsed: Outline) -> Iterator[Finding]:
    """Findings about a file beside the entry file, whose front matter belongs to other tools."""
    yield from _text(program, parsed, path)
    yield from _measured(program, path)
    entry, block = program.files[0][0], locate(parsed.lines).block
    ideas = next((b for b in parsed.blocks if b.kind == "idea"), None)
    if block is not None:
        yield block[0] + 1, "not-entry", "settings", entry
    if ideas is not None:
        yield ideas.start + 1, "not-entry", "ideas", entry
