"""Edits the ``metaloop:`` block of the front matter. No byte outside the lines of that block changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any

from programs.charter import CharterValue, fields
from programs.errors import ProgramError
from programs.front_matter import FrontMatter, locate
from programs.settings import CharterSettings, read_settings
from programs.text import BOM, is_blank, newline_of, split_lines, with_newline


def settings_of(text: str) -> CharterSettings:
    """The settings under ``metaloop:`` in a text. Raises ProgramError."""
    lines = split_lines(text)
    return read_settings(lines, locate(lines), "program")


def charter_fields(text: str) -> dict[str, CharterValue]:
    """The dotted charter fields that a text sets, with their values."""
    settings = settings_of(text)
    return {field: settings.charter.get(field) for field, _ in settings.set_fields}


def set_charter(text: str, field: str, value: Any) -> str:
    """The text with one dotted field (``screen.fraction``) set. Raises ProgramError for a bad field or value."""
    tree = _tree(text)
    _keep_digits(tree)
    node = tree["metaloop"]
    *parents, leaf = field.split(".")
    for name in parents:
        if not isinstance(node.get(name), Mapping):
            node[name] = _flow({})
        node = node[name]
    node[leaf] = _flow(value)
    changed = _with_block(text, _dump(tree, text))
    settings_of(changed)  # raises for an unknown field or a bad value
    return changed


def unset_charter(text: str, field: str) -> str:
    """The text without one dotted field; the same text where it is not set. Raises ProgramError if unknown."""
    if field not in dict(fields()):
        raise ProgramError(f"program:1: unknown setting {field}")
    if field not in charter_fields(text):
        return text
    tree = _tree(text)
    _keep_digits(tree)
    nodes = [tree]
    path = ["metaloop", *field.split(".")]
    for name in path[:-1]:
        nodes.append(nodes[-1][name])
    for name, node in zip(reversed(path), reversed(nodes), strict=True):
        del node[name]
        if node:
            break
    return _with_block(text, _dump(tree, text) if tree else "")


def take_charter(text: str, donor: str) -> str:
    """The text with the whole ``metaloop:`` block of another text, or without one where the donor has none."""
    lines = split_lines(donor)
    block = locate(lines).block
    taken = "".join(lines[slice(*block)]).replace("\r\n", "\n") if block else ""
    return _with_block(text, taken)


def _tree(text: str) -> Any:
    """The ``metaloop:`` block as a round-trip YAML tree with one key; without a block, a tree with an empty mapping."""
    from ruamel.yaml.comments import CommentedMap

    settings_of(text)
    lines = split_lines(text)
    block = locate(lines).block
    source = "".join(lines[slice(*block)]).replace("\r\n", "\n").replace("\r", "\n") if block else "metaloop:\n"
    tree = _yaml(source).load(source)
    key = next(iter(tree))
    if tree[key] is None:
        tree[key] = CommentedMap()
    return tree


def _keep_digits(node: Any) -> None:
    """ruamel changes the last digit of some numbers with an exponent; write those as Python does."""
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        if isinstance(value, Mapping | list):
            _keep_digits(value)
        elif getattr(value, "_exp", None):
            out = StringIO()
            _yaml("").dump({"x": value}, out)
            if _yaml("").load(out.getvalue())["x"] != value:
                node[key] = float(value)


def _yaml(source: str) -> Any:
    from ruamel.yaml import YAML

    indent = re.search(r"\n( +)\S", source)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    yaml.indent(mapping=len(indent[1]) if indent else 2, sequence=4, offset=2)
    return yaml


def _dump(tree: Any, text: str) -> str:
    lines = split_lines(text)
    block = locate(lines).block
    out = StringIO()
    _yaml("".join(lines[slice(*block)]) if block else "").dump(tree, out)
    return out.getvalue()


def _flow(value: Any) -> Any:
    """A plain Python value as YAML on one line; NumPy scalars become Python scalars."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, Mapping):
        mapping = CommentedMap((str(key), _flow(item)) for key, item in value.items())
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list | tuple):
        sequence = CommentedSeq([_flow(item) for item in value])
        sequence.fa.set_flow_style()
        return sequence
    return value.item() if hasattr(value, "item") else value


def _with_block(text: str, block: str) -> str:
    """``text`` with its ``metaloop:`` block replaced by ``block`` (with LF line ends, may be empty)."""
    lines = split_lines(text)
    front = locate(lines)
    block = with_newline(block, newline_of(text))
    if not front.end:
        return _with_new_front_matter(text, block) if block else text
    start, end = front.block or (front.end - 1, front.end - 1)
    if not block and _is_only_ours(lines, front):
        rest = "".join(lines[front.end :])
        mark = BOM if text.startswith(BOM) else ""
        if rest.strip() and not locate(split_lines(mark + rest)).end:
            return mark + rest
        block = "metaloop:" + newline_of(text)  # otherwise the text would be empty, or its start read as front matter
    return "".join([*lines[:start], block, *lines[end:]])


def _with_new_front_matter(text: str, block: str) -> str:
    newline = newline_of(text)
    mark = BOM if text.startswith(BOM) else ""
    return f"{mark}---{newline}{block}---{newline}{text.removeprefix(BOM)}"


def _is_only_ours(lines: list[str], front: FrontMatter) -> bool:
    start, end = front.block or (front.end - 1, front.end - 1)
    return all(is_blank(line) for line in [*lines[1:start], *lines[end : front.end - 1]])
