"""Fine-tune a local causal model on `metaloop export --view written --to jsonl`.

    python examples/writer/finetune.py MODEL rows.jsonl … -o tuned/ [--epochs 1] [--learning-rate 2e-5] [--all]

MODEL is a folder or a name that transformers accepts. TRL's SFTTrainer trains on the replies alone. Only rows whose
gain is significant (`shown`) are used, or with --all every row. Rows that are longer than --max-tokens are left out and
counted: a cut reply is no example of a reply.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

TEMPLATE = (  # for models without a chat template of their own
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}"
    "{{ eos_token if message.role == 'assistant' else '' }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def rows_of(files: list[Path], everything: bool) -> list[dict[str, Any]]:
    """The rows to use."""
    rows = [json.loads(line) for path in files for line in path.read_text("utf-8").splitlines()]
    return [row for row in rows if everything or row["shown"]]


def split(rows: list[dict[str, Any]], share: float) -> dict[str, list[dict[str, Any]]]:
    """Rows for training and validation; those of a lineage stay together. At most ``share`` are for validation."""
    lineages: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lineages.setdefault(row["lineage"], []).append(row)
    made: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    room = math.ceil(share * len(rows)) if len(lineages) > 1 else 0
    for name in sorted(lineages, key=lambda lineage: hashlib.sha256(lineage.encode()).hexdigest()):
        fits = len(made["validation"]) + len(lineages[name]) <= room
        made["validation" if fits else "train"] += lineages[name]
    return made


def fields_of(row: dict[str, Any]) -> dict[str, Any]:
    """The training fields of a row, without figures and ids: the last message is the completion."""
    return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}


def fitting(rows: list[dict[str, Any]], tokenizer: Any, most: int) -> list[dict[str, Any]]:
    """Rows whose conversation has at most ``most`` tokens."""

    def length(messages: list[dict[str, str]]) -> int:
        return len(tokenizer(tokenizer.apply_chat_template(messages, tokenize=False))["input_ids"])

    return [row for row in rows if length(row["prompt"] + row["completion"]) <= most]


def train(model: Any, tokenizer: Any, used: dict[str, list[dict[str, Any]]], flags: argparse.Namespace) -> Any:
    """The trainer after training."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    sets = {name: Dataset.from_list(rows) for name, rows in used.items() if rows}
    common = {
        "output_dir": str(flags.output), "num_train_epochs": flags.epochs, "learning_rate": flags.learning_rate,
        "per_device_train_batch_size": flags.batch, "max_length": flags.max_tokens, "seed": flags.seed,
        "report_to": "none", "save_strategy": "no", "logging_steps": 1, "use_cpu": flags.cpu, "bf16": False,
        "eval_strategy": "epoch" if "validation" in sets else "no",
    }  # fmt: skip
    given = {"train_dataset": sets["train"], "eval_dataset": sets.get("validation"), "processing_class": tokenizer}
    trainer = SFTTrainer(model, args=SFTConfig(**common), **given)
    trainer.train()
    return trainer


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path, nargs="+", help="files of `metaloop export --view written --to jsonl`")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--all", action="store_true", help="also rows whose gain is not significant")
    parser.add_argument("--validation", type=float, default=0.1, metavar="SHARE", help="of the rows, at most")
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
    whole = split(rows_of(flags.data, flags.all), flags.validation)
    read = {name: [fields_of(row) for row in rows] for name, rows in whole.items()}
    used = {name: fitting(rows, tokenizer, flags.max_tokens) for name, rows in read.items()}
    for name, rows in used.items():
        print(f"{name}: {len(rows)} rows, {len(read[name]) - len(rows)} longer than {flags.max_tokens} tokens left out")
    if not used["train"]:
        print("error: there is no row to train on\nhint: --all, or a larger --max-tokens", file=sys.stderr)
        return 1
    trainer = train(AutoModelForCausalLM.from_pretrained(flags.model), tokenizer, used, flags)
    trainer.save_model(str(flags.output))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"loss {losses[0]:.4f} at the first step, {losses[-1]:.4f} at the last; the model is in {flags.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
