"""A real HTTP server that speaks Anthropic's messages protocol, with its prompt cache: what is marked is written once,
and read from then on."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class ClaudeServer:
    """``seen`` holds the requests, ``usages`` what each was told to have taken."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.usages: list[dict[str, int]] = []
        self.cached: set[str] = set()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.claude = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def usage(self, body: dict[str, Any]) -> dict[str, int]:
        """Anthropic counts what its cache read and took up beside ``input_tokens``, not within."""
        head = "".join(part["text"] for part in body.get("system", ()) if "cache_control" in part)
        size, known = len(head) // 4, head in self.cached
        self.cached.add(head)
        return {
            "input_tokens": 40, "output_tokens": 7, "cache_read_input_tokens": size if known else 0,
            "cache_creation_input_tokens": 0 if known else size,
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def do_POST(self) -> None:
        claude: ClaudeServer = self.server.claude  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        usage = claude.usage(body)
        claude.seen.append(body)
        claude.usages.append(usage)
        reply = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": "hello"}], "usage": usage,
        }  # fmt: skip
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True
