"""The settings under ``metaloop:`` in the front matter: reads them into a Charter, each error with its line number, and
edits them. No byte outside the lines of that block changes."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import StringIO
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from programs.charter import FIELDS, Charter
from programs.common.bounded import MOST_OPEN, require_short_yaml
from programs.common.errors import ProgramError
from programs.common.text import BOM, is_blank, newline_of, one_line, split_lines
from programs.front_matter import locate

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_LONGEST_NAME = 120
_LONGEST_MESSAGE = 1000
_QUOTED = 60  # characters of a name or value in a message
_MOST_CHARACTERS = 16 << 10  # of a charter; a typical one has a few hundred, and the parser reads 20,000 a second


@dataclass(frozen=True)
class CharterSettings:
    """The content of ``metaloop:``. ``lines``: of each dotted key."""

    charter: Charter
    name: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def set_fields(self) -> dict[str, int]:
        """The line of each dotted field of the charter that is set, in the order of the lines."""
        known = FIELDS.keys() - {"version"}
        return {name: line for name, line in self.lines.items() if name in known}

    def field_text(self, name: str) -> str:
        """A dotted field with its value as JSON: ``screen.fraction: 0.25``."""
        return f"{name}: {json.dumps(self.charter.get(name), ensure_ascii=False)}"


@lru_cache(maxsize=64)  # mutators ask for those of one text again and again
def settings_of(text: str, file: str = "program") -> CharterSettings:
    """The settings of a program's text. Raises ProgramError ``file:line: …``."""
    lines = split_lines(text)
    block = locate(lines, file).block
    if block is None:
        return CharterSettings(Charter())
    data, where = _load(_source(text), block[0] + 1, file)
    name = data.pop("name", "")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
        hint = f"use one line of at most {_LONGEST_NAME} printable characters"
        raise ProgramError(f"{file}:{where['name']}: name must be one short line of text", hint=hint)
    try:
        return CharterSettings(Charter.model_validate(data), name, where)
    except ValidationError as error:
        raise _errors_of(error, where, block[0] + 1, file) from None


def set_charter(text: str, field: str, value: Any) -> str:
    """The text with one dotted field (``screen.fraction``) set. Raises ProgramError for a bad field or value."""
    yaml, tree = _tree(text)
    node = tree["metaloop"]
    *parents, leaf = field.split(".")
    for name in parents:
        if not isinstance(node.get(name), Mapping):
            node[name] = _flow({})
        node = node[name]
    node[leaf] = _flow(value)
    changed = _with_block(text, _dumped(yaml, tree))
    settings_of(changed)  # raises for an unknown field or a bad value
    return changed


def unset_charter(text: str, field: str) -> str:
    """The text without one dotted field; the same text where it is not set. Raises ProgramError if unknown."""
    if field not in FIELDS:
        raise ProgramError(f"program:1: unknown setting {field}")
    if field not in settings_of(text).set_fields:
        return text
    yaml, tree = _tree(text)
    _delete(tree, ["metaloop", *field.split(".")])
    return _with_block(text, _dumped(yaml, tree))


def take_charter(text: str, donor: str) -> str:
    """The text with the whole ``metaloop:`` block of another text, or without one where the donor has none."""
    return _with_block(text, _source(donor))


def _source(text: str) -> str:
    """The lines of the ``metaloop:`` block, with LF line ends; empty without one."""
    lines = split_lines(text)
    block = locate(lines).block
    return "".join(lines[slice(*block)]).replace("\r\n", "\n").replace("\r", "\n") if block else ""


def _load(block: str, first_line: int, file: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The settings, and the line of each dotted key."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    unread = ProgramError(
        f"{file}:{first_line}: the settings cannot be read as YAML 1.2",
        hint=f"at most {_MOST_CHARACTERS:,} characters and {MOST_OPEN} brackets within each other",
    )
    try:
        require_short_yaml(block, _MOST_CHARACTERS)
        for token in YAML().scan(block):
            if token.id in ("<alias>", "<anchor>", "<tag>") or getattr(token, "value", "") == "<<":
                line = first_line + token.start_mark.line
                raise ProgramError(f"{file}:{line}: anchors, aliases, tags and merge keys are not supported")
        body = next(iter(YAML().load(block).values())) or {}
        plain = json.loads(json.dumps(body, default=str, ensure_ascii=False).encode())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = first_line + (mark.line if mark else 0)
        raise ProgramError(
            f"{file}:{line}: {one_line(error.problem or 'not valid YAML', 200)}", hint="YAML 1.2"
        ) from None
    except (YAMLError, RecursionError, TypeError, ValueError):  # absurd nesting, keys, characters and numbers
        raise unread from None
    if not isinstance(body, Mapping):
        raise ProgramError(f"{file}:{first_line}: metaloop: must contain fields, not {_quote(plain)}")
    return plain, dict(_lines_of(body, "", first_line))


def _lines_of(node: Any, above: str, first_line: int) -> Iterator[tuple[str, int]]:
    mapping = isinstance(node, Mapping)
    for key, value in node.items() if mapping else enumerate(node):
        yield f"{above}{key}", first_line + (node.lc.key(key) if mapping else node.lc.item(key))[0]
        if isinstance(value, Mapping | list):
            yield from _lines_of(value, f"{above}{key}.", first_line)


def _errors_of(error: ValidationError, where: Mapping[str, int], first_line: int, file: str) -> ProgramError:
    """One error with all complaints in file order."""
    rows = []
    for item in error.errors(include_url=False):
        path = [str(part) for part in item["loc"] if part != "[key]"]
        known = (where.get(".".join(path[:n])) for n in range(len(path), 0, -1))
        rows.append((next(filter(None, known), first_line), _explain(".".join(path), item)))
    rows.sort(key=lambda row: row[0])
    (line, first), *others = rows
    message = "; ".join([first, *(f"line {number}: {text}" for number, text in others)])
    hint = "metaloop show stock --settings lists all settings"
    return ProgramError(f"{file}:{line}: {one_line(message, _LONGEST_MESSAGE)}", hint=hint)


def _explain(name: str, item: ErrorDetails) -> str:
    """What is wrong with a field; for an unknown one, the field with the nearest name."""
    if item["type"] != "extra_forbidden":
        return f"{one_line(name, _QUOTED)}: {one_line(item['msg'], 200)}, not {_quote(item['input'])}"
    near = difflib.get_close_matches(name, FIELDS, 1, 0.5)
    return f"unknown setting {one_line(name, _QUOTED)}" + "".join(f"; did you mean {field}?" for field in near)


def _quote(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False, default=str), _QUOTED)


def _tree(text: str) -> tuple[YAML, Any]:
    """The ``metaloop:`` block as a round-trip YAML tree with one key, and what writes it with its indentation. Raises
    ProgramError for settings that are not valid."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    settings_of(text)
    source = _source(text)
    indent = re.search(r"\n( +)\S", source)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    yaml.indent(mapping=len(indent[1]) if indent else 2, sequence=4, offset=2)
    tree = yaml.load(source or "metaloop:\n")
    key = next(iter(tree))
    if tree[key] is None:
        tree[key] = CommentedMap()
    _keep_digits(tree)
    return yaml, tree


def _keep_digits(node: Any) -> None:
    """ruamel changes the last digit of some numbers with an exponent; write those as Python does."""
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        if isinstance(value, Mapping | list):
            _keep_digits(value)
        elif getattr(value, "_exp", None):
            node[key] = float(value)


def _delete(node: Any, path: Sequence[str]) -> None:
    """Delete a key, and the mappings above it that are empty then."""
    if len(path) > 1:
        _delete(node[path[0]], path[1:])
    if len(path) == 1 or not node[path[0]]:
        del node[path[0]]


def _dumped(yaml: YAML, tree: Any) -> str:
    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue() if tree else ""


def _flow(value: Any) -> Any:
    """A plain Python value as YAML on one line; NumPy scalars become Python scalars."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if not isinstance(value, Mapping | list | tuple):
        return value.item() if hasattr(value, "item") else value
    if isinstance(value, Mapping):
        node: CommentedMap | CommentedSeq = CommentedMap((str(key), _flow(item)) for key, item in value.items())
    else:
        node = CommentedSeq(map(_flow, value))
    node.fa.set_flow_style()
    return node


def _with_block(text: str, block: str) -> str:
    """``text`` with its ``metaloop:`` block replaced by ``block`` (with LF line ends, may be empty)."""
    lines, newline = split_lines(text), newline_of(text)
    front = locate(lines)
    block = block.replace("\n", newline)
    mark = BOM if text.startswith(BOM) else ""
    if not front.end:
        return f"{mark}---{newline}{block}---{newline}{text.removeprefix(BOM)}" if block else text
    start, end = front.block or (front.end - 1, front.end - 1)
    if not block and all(map(is_blank, [*lines[1:start], *lines[end : front.end - 1]])):  # nothing else is there
        rest = mark + "".join(lines[front.end :])
        if rest.strip(BOM + " \t\r\n") and not locate(split_lines(rest)).end:
            return rest
        block = f"metaloop:{newline}"  # otherwise the text would be empty, or its start read as front matter
    return "".join([*lines[:start], block, *lines[end:]])
