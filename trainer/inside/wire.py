"""Messages between worker and template: one JSON object per packet, with named descriptors."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

MESSAGE_BYTES = 180_000  # per packet; the kernel's limit is a little over 200,000
_DESCRIPTORS = 12


def send(to: socket.socket, message: Mapping[str, Any], descriptors: Mapping[str, int] | None = None) -> None:
    """Send one message. The receiver gets copies of the descriptors under the same names."""
    handles = descriptors or {}
    data = json.dumps({**message, "descriptors": list(handles)}).encode()
    if len(data) > MESSAGE_BYTES:
        raise ValueError(f"a message of {len(data)} bytes")
    socket.send_fds(to, [data], list(handles.values()))


def receive(source: socket.socket) -> tuple[dict[str, Any], dict[str, int]] | None:
    """One message and its descriptors (the caller must close them); None at the end. ValueError if it is malformed."""
    data, received, flags, _ = socket.recv_fds(source, MESSAGE_BYTES + 1, _DESCRIPTORS)
    if not data:
        return None
    try:
        message = json.loads(data)
        names = message.pop("descriptors")
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(names) != len(received):
            raise ValueError("truncated")
        if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
            raise ValueError("a descriptor without a unique name")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        for descriptor in received:
            os.close(descriptor)
        raise ValueError(f"not a message: {error}") from None
    for descriptor in received:
        os.set_inheritable(descriptor, False)
    return message, dict(zip(names, received, strict=True))
