"""Numbers, texts and switches in YAML, JSON and TOML files, with their bytes: one can be rewritten alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from programs.common import bounded

Scalar = bool | int | float | str
_YAML, _JSON = (".yaml", ".yml"), ".json"
_KEY = re.compile(r"[A-Za-z_][\w-]*")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*)?(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?")
_PLAIN = re.compile(r"[A-Za-z_][\w.-]*")
_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"}
_TABLE = re.compile(r"\[([\w.\s-]+)\]\s*(?:#.*)?")  # of a line without blanks around it
_LINE = re.compile(
    r"""\s*(?P<key>[\w-]+(?:\s*\.\s*[\w-]+)*)\s*=\s*(?P<value>"[^"\\\n]*"|'[^'\n]*'|[-+\w.]+)\s*(?:#.*)?"""
)


Found = Iterator[tuple[str, Scalar, int, int]]


def read(file: str, text: str) -> Found:
    """(path of keys, joined by dots; its value; its first byte, and the one after its last). Nothing for other files,
    and for texts that do not parse."""
    if file.endswith(".toml"):
        yield from _of_toml(text)
    elif file.endswith((*_YAML, _JSON)):
        yield from _of_yaml(text, is_json=file.endswith(_JSON))


def literal(file: str, old: str, value: Scalar) -> str:
    """A value as the file's language has it, quoted as the old one is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
        return value if file.endswith(_YAML) and plain and old[:1] not in "'\"" else json.dumps(value)
    text = repr(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")  # YAML 1.1 takes 1e-05 for a text
    return text


def _of_yaml(text: str, is_json: bool) -> Found:
    from ruamel.yaml.error import YAMLError

    try:
        data = bounded.json_value(text) if is_json else None
        scalars = list(bounded.yaml_scalars(text.replace("\t", " ") if is_json else text))
    except (YAMLError, ValueError, NotImplementedError):
        return
    for keys, scalar in scalars:
        path = _address(keys)
        if not path:
            continue
        raw = text[scalar.start_mark.index : scalar.end_mark.index]
        value = _scalar(raw, scalar.style, scalar.value)
        if value is None or (is_json and _at(data, keys) != value):
            continue
        start = len(text[: scalar.start_mark.index].encode())
        yield path, value, start, start + len(raw.encode())


def _address(keys: tuple[str | int, ...]) -> str:
    """``optim.betas[0]``; empty where a key cannot be a part of an address."""
    address = ""
    for key in keys:
        if isinstance(key, str) and not _KEY.fullmatch(key):
            return ""
        address += f"[{key}]" if isinstance(key, int) else f".{key}"
    return "" if address.startswith("[") else address.lstrip(".")


def _scalar(raw: str, style: str | None, text: str) -> Scalar | None:
    """A plain or quoted scalar on one line; None for others, and for those with a tag or an anchor."""
    if style in ("'", '"'):
        return text if raw[:1] == style and text.isprintable() and len(text) <= 200 else None
    if style or raw != text:
        return None
    return plain_value(raw)


def plain_value(raw: str) -> Scalar | None:
    """The value of an unquoted word: ``1e-3`` is a number here, as in YAML 1.2 and in most programs' reading."""
    if _INT.fullmatch(raw) or (re.search(r"\d", raw) and _FLOAT.fullmatch(raw)):
        return bounded.number(raw)
    if raw in ("true", "True", "false", "False"):
        return raw in ("true", "True")
    return raw if _PLAIN.fullmatch(raw) and raw.lower() not in _RESERVED else None


def _at(data: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        known = isinstance(data, Mapping) if isinstance(key, str) else isinstance(data, list)
        data = data[key] if known and (isinstance(key, int) or key in data) else None
    return data


def _of_toml(text: str) -> Found:
    """Lines ``key = value`` below ``[table]``, where the whole file, as parsed, has this value at this place."""
    try:
        data = bounded.toml_table(text)
    except ValueError:
        return
    table: list[str] | None = []
    start = 0
    for line in text.splitlines(keepends=True):
        body = line.rstrip("\r\n")
        if header := _TABLE.fullmatch(body.strip()):
            table = [part.strip() for part in header[1].split(".")]
        elif body.lstrip().startswith("["):
            table = None  # an array of tables, or a quoted name
        elif table is not None and (match := _LINE.fullmatch(body)):
            keys = [*table, *(part.strip() for part in match["key"].split("."))]
            raw = match["value"]
            value = raw[1:-1] if raw[0] in "'\"" else plain_value(raw)
            before = start + len(body[: match.start("value")].encode())
            actual = _at(data, tuple(keys))
            if value is not None and actual == value and type(actual) is type(value):
                yield ".".join(keys), value, before, before + len(raw.encode())
        start += len(line.encode())
