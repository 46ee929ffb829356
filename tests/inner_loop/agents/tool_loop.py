#!/usr/bin/env python3
"""A small agent with a model: it runs the commands that its model calls the tool ``bash`` with, until it calls none."""

import json
import os
import subprocess
import sys
import urllib.request

TOOL = {"name": "bash", "parameters": {"properties": {"command": {"type": "string"}}, "required": ["command"]}}
said = [{"role": "user", "content": sys.stdin.read()}]
while True:
    body = {"model": "m", "messages": said, "tools": [{"type": "function", "function": TOOL}], "max_tokens": 4000}
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    address = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), sent)) as answer:
        message = json.load(answer)["choices"][0]["message"]
    said.append(message)
    for call in message.get("tool_calls") or ():
        command = json.loads(call["function"]["arguments"])["command"]
        done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print("$", command, done.stdout, sep="\n", flush=True)
        said.append({"role": "tool", "tool_call_id": call["id"], "content": done.stdout or "no output"})
    if not message.get("tool_calls"):
        sys.exit(0)
