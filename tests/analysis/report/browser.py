"""A real headless Chromium, driven through its DevTools protocol over a pipe: no socket, no library.

``--remote-debugging-pipe``: commands on descriptor 3, replies and events on descriptor 4, JSON ended by a NUL each.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = """
--headless=new --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run --hide-scrollbars
--disable-dev-shm-usage --disable-background-networking --force-color-profile=srgb
"""


def found() -> str | None:
    """The browser's command, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser with one page. Everything that the page asks for or complains about is kept in ``events``."""

    def __init__(self, command: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._home = tempfile.TemporaryDirectory(prefix="metaloop-browser-", ignore_cleanup_errors=True)
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        script = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        arguments = [command, *FLAGS.split(), f"--user-data-dir={self._home.name}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(theirs_in), str(theirs_out), *arguments],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._number = 0
        page = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.on_page(f"{domain}.enable")

    def ask(self, method: str, session: str | None = None, limit: float = 200.0, **params: Any) -> dict[str, Any]:
        """One command's result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + limit
        while True:
            reply = self._next(until)
            if reply.get("id") == self._number:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']}")
                return dict(reply["result"])
            self.events.append(reply)

    def on_page(self, method: str, **params: Any) -> dict[str, Any]:
        return self.ask(method, self._session, **params)

    def open(self, path: Path, width: int, scheme: str = "light") -> None:
        """Load a file of this machine with no network, and wait until its scripts have run."""
        self.events.clear()
        self.on_page(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
        )
        self.on_page(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1.0, mobile=width < 600
        )
        self.on_page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.on_page("Page.navigate", url=path.resolve().as_uri())
        until = time.monotonic() + 200
        while self.value("document.readyState") != "complete" and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.1)  # what the scripts put off is done by then

    def value(self, script: str) -> Any:
        """What an expression on the page comes to; a promise is awaited."""
        found = self.on_page("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"].get("exception", {}).get("description", found)))
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, uncaught exceptions, and what the policy of the page refused."""
        self.value("1")  # whatever is on its way has arrived by now
        out = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                out.append(str(params["exceptionDetails"].get("exception", {}).get("description")))
            if event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                out.append(str(params["args"]))
            if event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                out.append(str(params["entry"]))
        return out

    def requests(self) -> list[str]:
        """Every address that the page asked for, its own included; addresses without a network are left out."""
        asked = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("data:")]

    def close(self) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.kill()
        self._process.wait()
        self._home.cleanup()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(until - time.monotonic(), 0))
            more = os.read(self._read, 1 << 20) if ready else b""
            if not more:
                raise RuntimeError("the browser does not answer")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))


def hidden_and_back(browser: Browser) -> None:
    """Another tab holds no connection: a browser has only six per host. On return the page listens again, and looks;
    ``looked`` once it has done what follows from the answer."""
    browser.value(
        "(() => { const Real = EventSource, now = Date.now, get = fetch; window.looked = false;"
        "const close = Real.prototype.close;"  # of the page's own one, too
        "Real.prototype.close = function () { window.stream = this; close.call(this); };"
        "window.EventSource = function (url) { return (window.stream = new Real(url)); };"
        "window.fetch = async (...all) => { const answer = await get(...all), body = await answer.text();"
        "answer.text = async () => { setTimeout(() => { looked = true; }); return body; }; return answer; };"
        "Date.now = () => now() + 9000; })()"  # the last look is long ago
    )
    for hidden in ("true", "false", "true"):
        browser.value(f"Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }})")
        browser.value("document.dispatchEvent(new Event('visibilitychange'))")
        assert browser.value("window.stream?.readyState") in {"true": (2,), "false": (0, 1)}[hidden]
        end = time.monotonic() + 60.0
        while hidden == "false" and not browser.value("looked"):
            assert time.monotonic() < end
            time.sleep(0.05)
