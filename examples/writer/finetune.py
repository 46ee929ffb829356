"""Fine-tune a local causal model on `metaloop export --to sft|dpo`.

    python examples/writer/finetune.py MODEL data/ -o tuned/ [--epochs 1] [--learning-rate 2e-5] [--max-tokens 4096]

MODEL is a folder or a name that transformers accepts. The form of the rows decides: `messages` are trained with TRL's
SFTTrainer on the replies alone, `prompt`, `chosen` and `rejected` with its DPOTrainer. Rows that are longer than
--max-tokens are left out and counted: a cut program is no example of a program.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ANSWERS = ("completion", "chosen", "rejected")
TEMPLATE = (  # for models without a chat template of their own
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}"
    "{{ eos_token if message.role == 'assistant' else '' }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The training fields of a file of rows, without figures and ids. Of `messages`, the last is the completion."""
    if not path.is_file():
        return []
    made = []
    for row in map(json.loads, path.read_text("utf-8").splitlines()):
        if "messages" in row:
            row = {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}
        made.append({key: plain(row[key]) for key in ("prompt", *ANSWERS) if key in row})
    return made


def plain(messages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Messages as role and text: chat templates differ in how they write rounds of tools."""
    return [{"role": m["role"], "content": m["content"] + calls(m)} for m in messages]


def calls(message: dict[str, Any]) -> str:
    made = [one["function"] for one in message.get("tool_calls") or ()]
    return "".join(f"\n<tool_call>{json.dumps(one, ensure_ascii=False)}</tool_call>" for one in made)


def fitting(rows: list[dict[str, Any]], tokenizer: Any, most: int) -> list[dict[str, Any]]:
    """Rows whose conversation has at most ``most`` tokens."""

    def length(messages: list[dict[str, str]]) -> int:
        return len(tokenizer(tokenizer.apply_chat_template(messages, tokenize=False))["input_ids"])

    return [row for row in rows if all(length(row["prompt"] + row[key]) <= most for key in ANSWERS if key in row)]


def train(model: Any, tokenizer: Any, split: dict[str, list[dict[str, Any]]], flags: argparse.Namespace) -> Any:
    """The trainer after training."""
    from datasets import Dataset

    sets = {name: Dataset.from_list(rows) for name, rows in split.items() if rows}
    common = {
        "output_dir": str(flags.output), "num_train_epochs": flags.epochs, "learning_rate": flags.learning_rate,
        "per_device_train_batch_size": flags.batch, "max_length": flags.max_tokens, "seed": flags.seed,
        "report_to": "none", "save_strategy": "no", "logging_steps": 1, "use_cpu": flags.cpu, "bf16": False,
        "eval_strategy": "epoch" if "validation" in sets else "no",
    }  # fmt: skip
    given = {"train_dataset": sets["train"], "eval_dataset": sets.get("validation"), "processing_class": tokenizer}
    if "completion" in split["train"][0]:
        from trl import SFTConfig, SFTTrainer

        trainer = SFTTrainer(model, args=SFTConfig(**common), **given)
    else:
        from trl import DPOConfig, DPOTrainer

        trainer = DPOTrainer(model, args=DPOConfig(beta=flags.beta, **common), **given)
    trainer.train()
    return trainer


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path, help="folder that `metaloop export --to sft` or `--to dpo` wrote")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--beta", type=float, default=0.1, help="of DPO")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true")
    flags = parser.parse_args(words)
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        print("error: transformers is missing\nhint: pip install -e 'examples/writer[finetune]'", file=sys.stderr)
        return 1
    tokenizer = AutoTokenizer.from_pretrained(flags.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    if not tokenizer.chat_template:
        tokenizer.chat_template = TEMPLATE
    read = {name: rows_of(flags.data / f"{name}.jsonl") for name in ("train", "validation")}
    split = {name: fitting(rows, tokenizer, flags.max_tokens) for name, rows in read.items()}
    for name, rows in split.items():
        print(f"{name}: {len(rows)} rows, {len(read[name]) - len(rows)} longer than {flags.max_tokens} tokens left out")
    if not split["train"]:
        print(f"error: {flags.data} has no row to train on\nhint: a larger --max-tokens", file=sys.stderr)
        return 1
    trainer = train(AutoModelForCausalLM.from_pretrained(flags.model), tokenizer, split, flags)
    trainer.save_model(str(flags.output))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"loss {losses[0]:.4f} at the first step, {losses[-1]:.4f} at the last; the model is in {flags.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
