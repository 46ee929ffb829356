"""Every parameter of every route, as the application itself lists them, with values that nobody should send: no 5xx."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi.routing import APIRoute

import arena.contest.web
from arena.contest.web.app import create_app
from arena.serving.limits import MOST_NUMBER
from tests.arena.contest.hostile.attacks import mark
from tests.arena.contest.hostile.ground import Ground, proof_in, unlimited
from tests.arena.contest.hosting import Answer, Browser

WEB = Path(arena.contest.web.__file__).parent
NUMBERS = (0, 1, -1, 10**6, 10**9, 10**9 + 1, 2**31, 2**32, MOST_NUMBER, MOST_NUMBER + 1, -MOST_NUMBER - 2, 10**20)
WORDS = (
    "", " ", "x", "NaN", "inf", "1e400", "1.5", "0x10", "1_000", "+1", "٣", "²", "true", "null", "[]", "9" * 5000,
    "-" + "9" * 5000, "0" * 300 + "1", "a" * 101, "'", "\0", "\n", "..", "%", "\ud800", "\u202e", "é" * 60, "A" * 7000,
)  # fmt: skip
VALUES = tuple(dict.fromkeys([*map(str, NUMBERS), *WORDS]))
FEW = ("", "-1", str(MOST_NUMBER + 1), str(10**20), "9" * 5000, "NaN", "\ud800")
TURNS = 20
SLOW = pytest.mark.slow


def routes(ground: Ground) -> list[APIRoute]:
    return list(listed(create_app(ground.made.contest, unlimited()).routes))


def listed(found: Iterable[Any]) -> Iterator[APIRoute]:
    """With those of the routers that were taken in: newer versions of FastAPI keep them apart."""
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif inner := getattr(route, "original_router", None):
            yield from listed(inner.routes)


def test_no_parameter_is_read_past_the_table_of_routes() -> None:
    """What a handler takes out of the address by itself would have no bounds, and no place in these tests."""
    for path in WEB.rglob("*.py"):
        for reading in ("query_params", "path_params"):
            assert reading not in path.read_text(encoding="utf-8"), f"{path} reads {reading}"


def test_every_number_of_the_application_has_bounds(ground: Ground) -> None:
    """Of the queries, the paths and the bodies; and every text a longest length."""
    found = json.loads(json.dumps(create_app(ground.made.contest).openapi()))
    bodies = [told.get("requestBody") for methods in found["paths"].values() for told in methods.values()]
    sent = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(bodies)))
    described = [
        (path, parameter["name"], parameter["schema"])
        for path, methods in found["paths"].items() for told in methods.values()
        for parameter in told.get("parameters", [])
    ] + [
        (name, key, schema)
        for name in sorted(sent) for key, schema in found["components"]["schemas"][name]["properties"].items()
    ]  # fmt: skip
    assert len(described) > 10 and len(sent) > 2
    for place, name, schema in described:
        wanted = {"integer": {"minimum", "maximum"}, "string": {"maxLength"}}[schema["type"]]
        assert wanted <= schema.keys(), f"{name} of {place}: {schema}"


def filled(path: str, values: dict[str, str]) -> str:
    """The path with its parts put in; a lone surrogate goes over the wire as the bytes that it would be."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda part: encoded(values[part[1]]), path)


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def body_of(route: APIRoute) -> bytes | None:
    """A body that the route takes, so that what is fuzzed is looked at by more than the parser."""
    if route.body_field is None:
        return None
    fields = getattr(route.body_field.field_info.annotation, "model_fields", {})
    return json.dumps(dict.fromkeys(fields, "because it was sent twice")).encode()


def attempts(route: APIRoute, usual: dict[str, str], values: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(what is tried, the address): one parameter after the other, the rest as usual; then all of them at once."""
    parts = [field.alias for field in route.dependant.path_params]
    asked = [field.alias for field in route.dependant.query_params]
    for name, value in itertools.product([*parts, *asked, ""], values):
        at = {part: value if name in (part, "") else usual[part] for part in parts}
        query = {one: value for one in asked if name in (one, "")}
        if name or len(parts) + len(asked) > 1:
            words = "&".join(f"{one}={encoded(text)}" for one, text in query.items())
            yield f"{name or 'all'}={value[:40]!r}", filled(route.path, at) + (f"?{words}" if words else "")


@pytest.fixture(scope="module")
def usual(ground: Ground) -> dict[str, str]:
    """What each part of a path usually is: of an entry that there is."""
    return {"entry_id": ground.entry["entry_id"], "name": "board", "kind": "csv"}


@mark("api")
@pytest.mark.parametrize(
    ("who", "values"),
    [
        ("host", FEW),
        pytest.param("host", VALUES, marks=SLOW),
        pytest.param("nobody", VALUES[::2], marks=SLOW),  # both are turned away alike, each meets half of the values
        pytest.param("entrant", VALUES[1::2], marks=SLOW),
    ],
)
@pytest.mark.exploit(53)
def test_no_parameter_breaks_the_server(
    ground: Ground, usual: dict[str, str], who: str, values: Sequence[str]
) -> None:  # fmt: skip
    token = {"nobody": "", "entrant": ground.mallory.token, "host": ground.made.admin_token}[who]
    browser, tried, bounded = Browser(ground.port, token), 0, 0
    for route in routes(ground):
        own = {field.alias for field in (*route.dependant.path_params, *route.dependant.query_params)}
        for what, address in attempts(route, usual, values) if own else ():
            for method in sorted(route.methods):
                body = body_of(route) if method == "POST" else None
                kind = "application/json" if body else "text/markdown"
                answer = browser.ask(method, address, body, content_type=kind, accept="text/html")
                assert answer.status < 500, f"{method} {route.path} {what}: {answer.status} {answer.text[:300]}"
                tried, bounded = tried + 1, bounded + (answer.status in (400, 404, 414, 422, 431))
    assert tried >= 19 * len(values) and bounded > tried / 4
    assert ground.errors == []


def fields_of_forms() -> set[str]:
    """Every field that a page of ours has a form for."""
    text = "".join(path.read_text(encoding="utf-8") for path in (WEB / "templates").rglob("*.j2"))
    return set(re.findall(r'<(?:input|textarea|select)[^>]*\bname="(\w+)"', text))


@mark("forms")
@pytest.mark.parametrize("values", [FEW, pytest.param(VALUES, marks=SLOW)])
@pytest.mark.exploit(53)
def test_no_field_of_a_form_breaks_the_server(ground: Ground, usual: dict[str, str], values: Sequence[str]) -> None:
    """As a person who is logged in, and as the host. A number's field meets every value, the others take turns."""
    fields = fields_of_forms() - {"proof", "file"}
    assert {"entry", "person", "because", "text", "name"} <= fields
    host = Browser(ground.port)
    host.form("/login", token=ground.made.admin_token)
    forms = [route for route in routes(ground) if "POST" in route.methods and not route.include_in_schema]
    left_out = {"/logout"}  # it takes no field
    assert len(forms) > len(left_out) + 4
    plain: dict[str, Any] = {"sure": "yes", "because": "sent twice"}
    hosts = proof_in(host.get("/host").text)
    turns = itertools.cycle(range(TURNS))
    for route, name in itertools.product(forms, sorted(fields)):
        if route.path in left_out:
            continue
        number = name in ("person", "entry") and route.path.startswith("/host/")
        for value in values if number else values[next(turns) :: TURNS]:
            browser, proof = (host, hosts) if route.path.startswith("/host") else (ground.browser, ground.proof)
            answer = posted(browser, filled(route.path, usual), {**plain, name: value, "proof": proof})
            assert answer.status < 500, f"{route.path} {name}={value[:40]!r}: {answer.status} {answer.text[:300]}"
    assert ground.errors == []


def posted(browser: Browser, path: str, fields: dict[str, str]) -> Answer:
    raw = urlencode(fields, errors="surrogatepass").encode()
    return browser.ask("POST", path, raw, content_type="application/x-www-form-urlencoded", accept="text/html")
