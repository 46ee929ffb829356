"""Servers that lie about usage, send nonsense, drip, or tell a key back: nothing passes a cap, nothing is printed."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from inner_loop.bench import NoReply
from inner_loop.models import provider
from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message
from inner_loop.models.reply_limits import MOST_BYTES
from inner_loop.models.scrub import scrub
from inner_loop.models.spend_limiter import Cost, SpendLimiter
from programs.common.errors import Corrupt
from tests.llm.fixtures import close_connections, dropped
from tests.llm.kits import KEY, MODEL, Event, environment, kit
from tests.llm.wild import LIES, SAID, WildServer, completion, used, whole

pytestmark = [dropped, pytest.mark.filterwarnings("ignore:Pydantic serializer:UserWarning")]
CAPS: dict[str, Any] = {"max_usd": 1.0, "max_tokens": 100_000, "prices": {MODEL: (1.0, 2.0, 0.1)}}


@pytest.fixture
def wild(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WildServer]:
    with WildServer(lambda: iter([whole(completion())])) as server:
        environment(monkeypatch, server.url)
        yield server
        close_connections()


def ask(folder: Path | None = None, **how: Any) -> tuple[str | None, list[Event], Cost]:
    """The reply's text (None: nobody answered), what was told, and what purse.json holds of it."""
    events = list[Event]()
    client = ModelClient(kit(events, study=folder, patience=0.05, **(CAPS | how)), 0)
    try:
        text: str | None = client.complete([Message("user", "hi there")], max_tokens=50, purpose="turn").text
    except NoReply:
        text = None
    json.dumps(events, ensure_ascii=False).encode()
    return text, events, SpendLimiter(folder).spent() if folder else Cost()


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_usage_gives_nothing_back(wild: WildServer, tmp_path: Path, lie: str) -> None:
    wild.script = lambda: iter([whole(completion(LIES[lie]))])
    _, (event,), spent = ask(tmp_path)
    assert 0 < spent.tokens <= 2000 and 0 < spent.usd < 0.01
    assert spent.tokens == event["tokens"] + event["lost_tokens"]
    assert spent.usd == pytest.approx(event["usd"] + event["lost_usd"])


def test_lies_do_not_stretch_a_cap(wild: WildServer, tmp_path: Path) -> None:
    """Whatever is told, the number of calls under a cap ends."""
    wild.script = lambda: iter([whole(completion(used(-1000, -1000)))])
    asked = 0
    while asked < 100 and ask(tmp_path, max_tokens=300)[0] is not None:
        asked += 1
    assert 0 < asked < 100


ODD: dict[str, Any] = {
    "surrogates": SAID | {"content": "a\ud800\0\x1b[31m"},
    "list": SAID | {"content": ["x"]},
    "number": SAID | {"content": 5},
    "calls": SAID | {"tool_calls": "x"},
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_reply_can_be_written_down(wild: WildServer, odd: str, capfd: pytest.CaptureFixture[str]) -> None:
    wild.script = lambda: iter([whole(completion(used(10, 5), ODD[odd]))])
    _, events, _ = ask()
    assert KEY not in json.dumps(events) and capfd.readouterr() == ("", "")


RAW: dict[str, bytes] = {
    "not utf-8": whole(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "bad gzip": whole(b"\x1f\x8b nothing of the kind", head="Content-Encoding: gzip\r\n"),
    "gzip": whole(gzip.compress(b"[" * 3_000_000), head="Content-Encoding: gzip\r\n"),
    "tls": b"\x15\x03\x01\x00\x02\x02\x28", "nothing": b"",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "long head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "html": whole(b"<script>alert(1)</script>", kind="text/html"),
    "gzip of a reply": whole(gzip.compress(completion(used(10, 5))), head="Content-Encoding: gzip\r\n"),
    "elsewhere": whole(b"", status="302 Found", head="Location: http://127.0.0.1:9/v1/chat/completions\r\n"),
    "in a circle": whole(b"", status="307 Temporary Redirect", head="Location: /v1/chat/completions\r\n"),
    "key told back": whole(json.dumps({"error": {"message": f"Incorrect: Bearer {KEY}"}}).encode(), status="401 No"),
    "long key told back": whole(json.dumps({"error": {"message": "x" * 140 + KEY}}).encode(), status="400 No"),
}  # fmt: skip


@pytest.mark.parametrize("raw", RAW)
def test_bytes_that_are_no_reply_fail(
    wild: WildServer, raw: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wild.script = lambda: iter([RAW[raw]])
    text, (event,), spent = ask(tmp_path)
    told = json.dumps(event)
    assert text is None and event["status"] == "failed" and KEY not in told and KEY[:12] not in told
    assert spent.tokens == event["lost_tokens"] and capfd.readouterr() == ("", "")


def test_a_reply_of_many_megabytes_is_none(wild: WildServer, tmp_path: Path) -> None:
    long = SAID | {"content": "x" * MOST_BYTES}
    wild.script = lambda: iter([whole(completion(used(10, 5), long))])
    text, (event,), _ = ask(tmp_path)
    assert text is None and "bytes" in event["faults"][0] and len(json.dumps(event)) < 5000


@pytest.fixture(params=["openai/m", "anthropic/claude-m"])
def model(request: pytest.FixtureRequest, wild: WildServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of each client of a provider, at the wild server."""
    monkeypatch.setenv("ANTHROPIC_API_BASE", wild.root)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    return str(request.param)


def test_reply_without_end_is_left_at_the_limit(wild: WildServer, model: str) -> None:
    """Whatever the provider's client: at most the limit and what is on its way is taken."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
        while sent < 100 * MOST_BYTES:
            yield b" " * (1 << 16)
            sent += 1 << 16

    wild.script = endless
    with pytest.raises(provider.Fault, match=f"more than {MOST_BYTES} bytes"):
        provider.ask(model, [Message("user", "hi")], max_tokens=5, timeout=60)
    assert sent < 3 * MOST_BYTES


def test_redirect_gets_neither_prompt_nor_key(wild: WildServer, model: str) -> None:
    with WildServer(lambda: iter([whole(completion(used(1, 1)))])) as other:
        head = f"Location: {other.root}/v1/chat/completions\r\n"
        wild.script = lambda: iter([whole(b"", status="307 Temporary Redirect", head=head)])
        with pytest.raises(provider.Fault, match="redirect"):
            provider.ask(model, [Message("user", "hi")], max_tokens=5, timeout=60)
        assert wild.heard and not other.heard


def test_a_drip_ends(wild: WildServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within the time-out, the reply never does."""

    def drip() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        while not wild.closing.wait(0.05):
            yield b" "

    wild.script = drip
    monkeypatch.setattr(provider, "GRACE", 0.2)
    text, (event,), spent = ask(tmp_path, call_timeout=0.3)
    assert text is None and "timeout" in event["faults"][0] and spent.tokens == event["lost_tokens"] > 0


FIGURES = ["NaN", "-5", "Infinity", "[]", '"x"', "null"]
SIDES = ('{"spent": {"tokens": %s, "usd": 0.0}, "open": {}}', '{"spent": {"tokens": 0, "usd": %s}, "open": {}}')


@pytest.mark.parametrize(
    "text", ["[]", "", '{"tokens": 5, "usd": 0.1, "open": {}}', *(s % f for s in SIDES for f in FIGURES)]
)
def test_purse_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "purse.json").write_text(text)
    with pytest.raises(Corrupt, match=r"purse\.json: cannot be read"):
        SpendLimiter(tmp_path).start(Cost(1), "p", time.sleep)


def test_a_secret_is_found_as_others_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-canary/0123+456789abcdef"
    monkeypatch.setenv("SOME_API_KEY", f"{secret}\n")
    monkeypatch.setenv("SOME_BASE", "https://me:p%40ssw0rd-of-mine@example.com/v1")
    written = [
        secret, quote(secret, safe=""), quote(secret), secret.replace("/", "\\/"), f"{secret[:9]}\n   {secret[9:]}",
        "https://me:p%40ssw0rd-of-mine@example.com", "p@ssw0rd-of-mine",
    ]  # fmt: skip
    written += [base64.b64encode(f"{'x' * n}{secret}tail".encode()).decode() for n in range(4)]
    for text in written:
        told = scrub(f"before {text} behind")
        assert "[secret]" in told and told.startswith("before ") and told.endswith(" behind"), text
        assert secret not in "".join(told.split()) and "p@ss" not in told and "p%40" not in told
    assert scrub("sk-canary/0124 is another\nword") == "sk-canary/0124 is another\nword"
