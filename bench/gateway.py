"""What the gateway of model APIs adds to a call of a coding agent: python -m bench.gateway [CALLS]

Calls one after another to the server of the tests, whole and streamed, in turns straight and through the gateway with a
capped `purse.json` on disk. Prints medians in milliseconds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from inner_loop.models.provider import litellm
from tests.llm.apis import ApiServer
from tests.llm.gateway import PATHS, TEXT, body, calling


def main(calls: int) -> None:
    litellm()
    with ExitStack() as stack:
        server = stack.enter_context(ApiServer(lambda _: TEXT))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        caller = stack.enter_context(calling(server, study=folder, max_tokens=10**9))
        straight = stack.enter_context(httpx.Client())
        for stream in (False, True):
            took: dict[str, list[float]] = {"straight": [], "gateway": []}
            for _ in range(calls):
                request = body("chat", stream=stream)
                began = time.perf_counter()
                answer = straight.post(f"{server.url}/chat/completions", json=request, headers={"Connection": "close"})
                took["straight"].append(time.perf_counter() - began)
                answer.raise_for_status()
                began = time.perf_counter()
                answer = caller.client.post(PATHS["chat"], json=request, headers=caller.key("chat"))
                took["gateway"].append(time.perf_counter() - began)
                answer.raise_for_status()  # a refusal is fast, and no figure
            direct, through = (statistics.median(took[name]) * 1000 for name in ("straight", "gateway"))
            kind = "streamed" if stream else "whole"
            more = f"more {through - direct:.1f} ms"
            print(f"{kind}: straight {direct:.1f} ms, through the gateway {through:.1f} ms, {more}")
    print(f"load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 200)
