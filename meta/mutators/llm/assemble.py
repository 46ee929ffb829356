"""The text of a child from a reply: one replaced section, sections of two parents, or a whole program."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from meta.mutators.change_files import dropped
from meta.mutators.llm.reply import BadReply, ListChange, MutationReply
from meta.mutators.offline.cross_sections import chapters, joined
from programs.directives import ORDER
from programs.edit import replace_ideas, replace_section, sections, spaced, take_charter, with_missing_patches
from programs.program import Program
from programs.structure import PATH, outline
from programs.text import split_lines

CHARTER = "charter"
_MARK = re.compile(r"^\(\d+(?:: [^()\n]*)?\) (?=\S)", re.MULTILINE)  # as `read_by_script` writes it
# As `meta.learnt` writes it.
_EXPECTED = re.compile(r" \(estimated to help on \d+ of \d+ measured tasks?: [\w, -]*\)")
_OURS = re.compile(r"\A[\"']?metaloop[\"']?[ \t]*:")


def section_names(program: Program) -> list[str]:
    """Names for a section: the charter, then each heading with a path and own text, then the other files."""
    named = dict.fromkeys(s.heading for s in sections(program.text) if s.level and _below(s.text).strip())
    return [CHARTER, *named, *program.further]


def read_by_script(program: Program, marks: Mapping[str, str], first: Program | None = None) -> str:
    """The text without the sections that the scripted researcher does not read: front matter and ideas stay, and the
    names of the others. Before each idea stands its number, with what ``marks`` says of it by directive id. Ideas that
    the ``first`` parent has in the same words stand as its numbers."""
    lines = split_lines(program.text)
    of_first = split_lines(first.text) if first else []
    same = {of_first[idea.line - 1]: number for number, idea in enumerate(first.ideas if first else (), 1)}
    for number, idea in enumerate(program.ideas, 1):
        said = marks.get(idea.directive_id, "")
        line = lines[idea.line - 1]
        shown = f"as {same[line]} of parent 1\n" if line in same else _EXPECTED.sub("", line.lstrip())
        lines[idea.line - 1] = f"({number}{': ' if said else ''}{said}) {shown}"
    text = "".join(lines)
    every = sections(text)
    front = text.removesuffix("".join(section.text for section in every))
    with_ideas = {d.heading for d in program.directives if d.kind == "idea"}
    kept = [section.text for section in every if section.heading in with_ideas]
    left = [section.heading for section in every if section.level and section.heading not in with_ideas]
    note = f"\n(left out, because the researcher does not read them: {', '.join(left)})\n" if left else ""
    return f"{front}{''.join(kept).rstrip()}\n{note}"


def with_sections(program: Program, answer: MutationReply) -> str:
    """The program's text with all sections of the reply. Raises BadReply."""
    if answer.further and any(name in program.further for name in answer.sections):
        raise BadReply("a reply that changes another file changes nothing else")
    text, names = program.text, list(answer.sections)
    for name in sorted(names, key=lambda name: name.casefold() == CHARTER):  # the charter last
        text = with_section(program.with_text(text), replace(answer, name=name, body=answer.sections[name]))
    return text


def with_section(program: Program, answer: MutationReply) -> str:
    """The program's text with the reply's section: a new one is appended, an empty one removed. A section that is
    another file gives the whole document.

    Raises BadReply.
    """
    if answer.name in program.further:
        return with_file(program, answer)
    if answer.name.casefold() == CHARTER:
        return _with_charter(program, answer.body)
    body = answer.body.strip("\n")
    if outline(body).headings:
        raise BadReply("the text of the section contains a heading")
    if program.ideas:
        body = _restored(program, _MARK.sub("", body))
    if answer.name in answer.changes:
        return _with_items(program.text, answer.name, answer.changes[answer.name], body)
    known = [s for s in sections(program.text) if s.level]
    wanted = answer.name.lstrip("# ").casefold()
    names = [{s.heading.casefold(): s for s in reversed(known)}]
    names.append({s.heading.split(PATH)[-1].casefold(): s for s in reversed(known)})
    for by_name in names:
        if (section := by_name.get(wanted)) is not None:
            head = section.text[: len(section.text) - len(_below(section.text))]
            new = f"{head.rstrip()}\n\n{body}\n\n" if body else ""
            return replace_section(program.text, section.heading, new).rstrip() + "\n"
    if not body:
        raise BadReply(f"there is no section {answer.name[:60]} to remove")
    return f"{spaced(program.text, chr(10))}## {answer.name.lstrip('# ')}\n\n{body}\n"


def _restored(program: Program, body: str) -> str:
    """The text with what `read_by_script` left out of the program's ideas, where they are repeated."""
    for idea in program.ideas:
        short = _EXPECTED.sub("", idea.text)
        if short != idea.text:
            body = body.replace(short, idea.text)
    return body


def _with_items(text: str, name: str, change: ListChange, body: str) -> str:
    """The text with ideas added and taken away, by their numbers as `read_by_script` shows them. Raises BadReply."""
    program, new = Program.parse(text), Program.parse(f"## Ideas\n\n{body}\n")
    headings = {
        heading for d in program.directives if d.kind == "idea" for heading in (d.heading, d.heading.split(PATH)[-1])
    }
    items: list[str | None] = [idea.text for idea in program.ideas]
    at = change.after or 0
    if name.lstrip("# ").casefold() not in {heading.casefold() for heading in headings}:
        raise BadReply(f"section {name[:60]} has no numbered items")
    if wrong := [n for n in (*sorted(change.deleted), at) if n > len(items)]:
        raise BadReply(f"section {name[:60]} has {len(items)} items, no item {wrong[0]}")
    if body and not new.ideas:
        raise BadReply(f"the new text of section {name[:60]} has no list items")
    for n in change.deleted - {0}:
        items[n - 1] = None
    kept = [item for item in (*items[:at], *(idea.text for idea in new.ideas), *items[at:]) if item is not None]
    return with_missing_patches(replace_ideas(text, kept), new.patches)


def whole(program: Program, answer: MutationReply) -> str:
    """The reply as the entry file, or the document with the file that it names. Raises BadReply."""
    if answer.name and program.is_set and answer.name != program.files[0][0]:
        return with_file(program, answer)
    return answer.body.strip("\n") + "\n"


def with_file(program: Program, answer: MutationReply) -> str:
    """The document with a file replaced; an empty text removes it and the links to it. Raises BadReply."""
    if answer.name not in program.further:
        raise BadReply(f"the program has no file {answer.name[:60]}")
    body = answer.body.strip("\n")
    child = program.with_files({answer.name: body + "\n"}) if body else dropped(program, answer.name)
    return child.document


def merged(first: Program, second: Program, answer: MutationReply) -> str:
    """Sections by the reply's lines ``NAME: 1`` or ``NAME: 2``; all others are the first parent's.

    Raises BadReply.
    """
    choice = dict(_choices(answer.body))
    known = {CHARTER, *chapters(first.text), *chapters(second.text)} - {""}
    unknown = [name for name in choice if name not in known]
    if unknown:
        raise BadReply(f"neither parent has a section {unknown[0][:60]}")
    text, _ = joined(first, second, {name for name, parent in choice.items() if parent == 2})
    if choice.get(CHARTER) == 2:
        text = take_charter(text, second.text)
    if not text.strip():
        raise BadReply("nothing is left of the program")
    return first.with_parts(text, second).document


def only_added(parent: Program, child: Program) -> str:
    """Empty if the child keeps all statements of the parent and adds one; else the problem. ``proposers`` may change
    where the parent has no queue and the child adds it, because added ideas would otherwise be ignored."""
    gone, new = _compared(parent, child)
    if "queue" in child.charter.proposers and "queue" not in parent.charter.proposers:
        gone -= {d.directive_id for d in parent.directives if d.kind == "charter" and d.text.startswith("proposers:")}
    return "add removed something from the program" if gone else "" if new else "nothing was added"


def only_deleted(parent: Program, child: Program) -> str:
    gone, new = _compared(parent, child)
    return "delete wrote something new" if new else "" if gone else "nothing was deleted"


def shorter(parent: Program, child: Program) -> str:
    """Empty if the child is a tenth shorter, with the same charter and the same ideas."""
    if child.charter != parent.charter:
        return "distil changed the charter"
    if [idea.terms for idea in child.ideas if idea.terms] != [idea.terms for idea in parent.ideas if idea.terms]:
        return "distil changed which edits the ideas name, or their order"
    most = int(0.9 * parent.words)
    return "" if child.words <= most else f"distil left {child.words} of {parent.words} words; {most} is the most"


def anything(_parent: Program, _child: Program) -> str:
    return ""


def _compared(parent: Program, child: Program) -> tuple[set[str], set[str]]:
    old, new = ({d.directive_id for d in p.directives if d.kind != ORDER} for p in (parent, child))
    return old - new, new - old


def _with_charter(program: Program, body: str) -> str:
    body = body.strip("\n").removeprefix("---\n").removesuffix("\n---").strip("\n")
    if body and not _OURS.match(body):
        raise BadReply("the charter does not begin with metaloop:")
    if any(line and not line[0].isspace() for line in body.splitlines()[1:]):
        raise BadReply("the charter contains more than the block metaloop:")
    return take_charter(program.text, f"---\n{body}\n---\n# x\n" if body else "# x\n")


def _below(section: str) -> str:
    """A section's text without its heading."""
    document = outline(section)
    return "".join(document.lines[document.headings[0].body :]) if document.headings else section


def _choices(body: str) -> Sequence[tuple[str, int]]:
    choices = []
    for line in filter(str.strip, body.splitlines()):
        name, colon, parent = line.rpartition(":")
        if not colon or parent.strip() not in ("1", "2"):
            raise BadReply(f"{line.strip()[:60]!r} is not of the form NAME: 1 or NAME: 2")
        choices.append((name.strip().lstrip("-* ").strip("`"), int(parent)))
    if not any(parent == 2 for _, parent in choices):
        raise BadReply("nothing is taken from the second parent")
    return choices
