"""Names, tokens, forms, paths and requests that are not what they should be: refused, and nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.contest.web.security import VISITOR, form_token
from tests.arena.contest.hostile.attacks import Case, attacks, corpus, said
from tests.arena.contest.hostile.ground import HONEST, Ground, fine, proof_in
from tests.arena.contest.hostile.pages import strange
from tests.arena.contest.hostile.tokens import forged
from tests.arena.contest.hosting import Answer, Browser, founded, joined, served

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def taken(ground: Ground) -> list[str]:
    """Names that people have, so that others may try to look like them."""
    for name in corpus("names")[0]["beside"]:
        Browser(ground.port).send("/api/v1/join", {"name": name})
    return [str(name) for name in corpus("names")[0]["beside"]]


@attacks("names")
@pytest.mark.exploit(59)
def test_no_name_is_taken_for_another(ground: Ground, taken: list[str], case: Case) -> None:
    before = ground.count()
    answer = Browser(ground.port).send("/api/v1/join", {"name": case.told["text"]})
    case.held(answer.status in (400, 422), f"{answer.status} {answer.text}")
    case.held(ground.count() == before)


NAMES = ("Grace Hopper", "José", "O'Neill", "J. R. R. T.", "team_7", "Nguyễn Văn An")


@pytest.mark.parametrize("name", NAMES)
def test_an_ordinary_name_is_given(ground: Ground, name: str) -> None:
    answer = Browser(ground.port).send("/api/v1/join", {"name": name})
    assert answer.status == 201 and answer.json["name"] == name


@attacks("paths")
@pytest.mark.exploit(60)
def test_no_path_leads_out(ground: Ground, case: Case) -> None:
    head = f" HTTP/1.1\r\nHost: {ground.host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n".encode()
    answer = said(ground.port, b"GET " + case.raw + head)
    status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/1.1 ") else b"none"
    case.held(status in (b"400", b"404", b"405", b"414", b"431"), answer)
    case.held(ground.made.contest.study.secret.encode() not in answer)
    body = answer.partition(b"\r\n\r\n")[2].decode()
    case.held(not body.startswith("<!doctype") or not strange(body), strange(body))
    case.held(b"\nset-cookie: contest_session" not in answer.lower())


def sent(case: Case, ground: Ground) -> bytes:
    """A request of the family `wire`, with its blocks repeated where it says so."""
    parts = case.told.get("parts", [[case.told.get("text", ""), 1]])
    texts = [text * times for text, times in parts]
    texts = [texts[0]] + texts[1:] * int(case.told.get("repeat", 1))
    return "".join(texts).replace("\n", "\r\n").replace("{host}", ground.host).encode("latin-1")


@attacks("wire")
@pytest.mark.exploit(61)
def test_one_answer_to_one_request(ground: Ground, case: Case) -> None:
    before = ground.untouched()
    answer = said(ground.port, sent(case, ground))
    case.held(answer.count(b"HTTP/1.1 ") <= case.told["answers"], answer)
    case.held(b"HTTP/1.1 5" not in answer, answer)
    case.held(case.told.get("absent", "\0").encode() not in answer, answer)
    case.held(ground.untouched() == before)
    page = ground.honest.get("/llms.txt")  # and whoever comes next sees nothing of it
    case.held(page.status == 200 and f"http://{ground.host}/rules.md" in page.text and "evil" not in page.text)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The proof of a form of another contest, whose server has another key."""
    made = founded(tmp_path_factory.mktemp("elsewhere"))
    with served(made.contest) as port:
        yield port, str(made.contest.database.fact("tokens")["server"])


def proof_of(whose: str, ground: Ground, key: str) -> str:
    """A proof that is not the one that this browser was given for this person."""
    visitor, session = ground.browser.cookies[VISITOR], ground.browser.cookies["contest_session"]
    other = Browser(ground.port)
    own = str(ground.made.contest.database.fact("tokens")["server"])
    ways = {
        "own": ground.proof,
        "browser": proof_in(other.get("/join").text),
        "person": form_token(own, visitor, "another session"),
        "nobody": form_token(own, visitor, ""),
        "contest": form_token(key, visitor, session),
        "capitals": ground.proof.upper(),
        "short": ground.proof[:-1],
        "blank": f"+{ground.proof}",
    }
    return ways[whose]


@attacks("forms")
@pytest.mark.exploit(62)
def test_no_form_that_is_not_ours_does_anything(ground: Ground, elsewhere: tuple[int, str], case: Case) -> None:
    told = dict(case.told)
    proof = proof_of(told.get("proof", "own"), ground, elsewhere[1])
    body = case.raw.decode() or "proof={proof}&text=%23+Forged"
    if "proof" in told and "body" in told:
        body = f"proof={{proof}}&{body}"

    def filled(text: str) -> str:
        for name, value in (("proof", proof), ("token", ground.honest.token), ("host", ground.host)):
            text = text.replace("{" + name + "}", value)
        return text

    headers = {name: filled(value) for name, value in told.get("headers", {}).items()}
    headers["content-type"] = told.get("kind", FORM) + "a" * told.get("kind_more", 0)
    before, session = ground.untouched(), ground.browser.cookies["contest_session"]
    answer = ground.browser.ask("POST", filled(told["path"]), filled(body).encode(), accept="text/html", **headers)
    case.held(answer.status in (400, 403, 413, 422), f"{answer.status} {answer.text}")
    case.held(ground.untouched() == before)
    case.held(ground.browser.cookies["contest_session"] == session)
    case.held("Mallory" in ground.browser.get("/me").text, "logged out")


@pytest.fixture(scope="module")
def stranger(elsewhere: tuple[int, str]) -> str:
    return joined(elsewhere[0], "Mallory").token


@attacks("tokens")
@pytest.mark.exploit(63)
def test_no_token_but_the_right_one(ground: Ground, stranger: str, tmp_path: Path, case: Case) -> None:
    made = ground.made
    other = made if not case.told["text"].startswith("other") else founded(tmp_path)
    cookie = ground.browser.cookies["contest_session"]
    header = forged(case.told["text"], ground.honest.token, made, other, stranger, cookie)
    before = ground.untouched()
    raw = header.encode("utf-8").decode("latin-1")

    def tried(method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Answer:
        more = {"authorization": raw} if raw else {}
        return Browser(ground.port).ask(method, path, body, content_type=kind, **more)

    case.held(tried("POST", "/api/v1/entries", HONEST + b"Forged.\n", "text/markdown").status == 401)
    case.held(tried("GET", "/api/v1/me").status == 401)
    case.held(tried("POST", "/api/v1/close", b'{"reason": "because"}').status == 403)
    page = Browser(ground.port).ask("GET", "/me", accept="text/html", **({"authorization": raw} if raw else {}))
    case.held(page.status in (303, 401) and "Used" not in page.text, page.text)
    case.held(ground.untouched() == before)


@attacks("api")
def test_the_api_takes_what_it_describes(ground: Ground, case: Case) -> None:
    told = case.told
    who = {"entrant": ground.mallory.token, "host": ground.made.admin_token}.get(told.get("who", ""), "")
    kind = told.get("kind", "text/markdown" if "text" in told else "application/json")
    path = told["path"].replace("{entry}", ground.entry["entry_id"]).replace("{token}", ground.honest.token)
    headers = {"content-type": kind, "accept": "text/html"} | told.get("headers", {})
    browser = Browser(ground.port, who)
    if "cookie" in told:
        name, _, value = told["cookie"].replace("{token}", ground.honest.token).partition("=")
        browser.cookies[name] = value
    before = ground.untouched()
    answer = browser.ask(told.get("method", "POST"), path, case.raw or None, **headers)
    case.held(answer.status in told["expect"], f"{answer.status} {answer.text}")
    case.held(fine(answer) and "access-control-allow-origin" not in answer.headers, answer.headers)
    if answer.status >= 400 or told.get("method") == "GET":
        case.held(ground.untouched() == before)
    else:  # a person like any other
        case.held(json.loads(answer.body).keys() == {"name", "token"}, answer.text)
        token = answer.json["token"]
        case.held(Browser(ground.port, token).send("/api/v1/close", {"reason": "because"}).status == 403)
