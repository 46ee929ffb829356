"""Everybody behind one test server: who is asked shows in the prompt."""

from __future__ import annotations

from typing import Any

from tests.llm import researcher, writer

#: mini-swe-agent's own prompts say how a command is to be given
MINI = "mswea_bash_command"
_TRY = (
    "sed -i 's/^{name} = .*/{name} = {value}/' train.py && git commit -qam '{name} {value}' && "
    "uv run train.py > run.log 2>&1; grep '^val_bpb:' run.log; tail -n 3 run.log"
)
_TRIED = (("LEARNING_RATE", 0.004), ("BATCH_SIZE", 16), ("LEARNING_RATE", 0.008))
_COMMANDS = (
    "cat program.md",
    *(_TRY.format(name=n, value=v) for n, v in _TRIED),
    "experiment status",
    "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
)


def answer(body: dict[str, Any]) -> str:
    """A mutator's reply, the next command of mini-swe-agent, or a researcher's edit."""
    prompt = researcher.prompt_of(body)
    if prompt.startswith("You write research programs"):
        return writer.answer(body)
    if MINI in prompt:
        said = sum(message["role"] == "assistant" for message in body["messages"])
        return f"THOUGHT: next.\n\n```{MINI}\n{_COMMANDS[min(said, len(_COMMANDS) - 1)]}\n```"
    return researcher.answer(body)
