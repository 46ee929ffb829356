"""Fine-tuning on exported rows, of a model of a few thousand parameters made here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[1]))
import finetune

SAID = [{"role": "system", "content": "You write programs."}, {"role": "user", "content": "Write one."}]
GOOD = {"role": "assistant", "content": '{"ideas": ["Use `norm=batch`."]}'}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights that reads bytes."""
    folder = tmp_path_factory.mktemp("model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = {token: number for number, token in enumerate([*alphabet, "<eos>"])}
    tokenizer = Tokenizer(models.BPE(known, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(known), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=True, eos_token_id=known["<eos>"], bos_token_id=None,
    )  # fmt: skip
    made = LlamaForCausalLM(config)
    assert sum(p.numel() for p in made.parameters()) < 10_000
    made.save_pretrained(folder)
    return folder


def likelihood(folder: Path, answer: dict[str, str]) -> float:
    """Log-likelihood of an answer, per token."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.chat_template = tokenizer.chat_template or finetune.TEMPLATE
    start = tokenizer(tokenizer.apply_chat_template(SAID, tokenize=False, add_generation_prompt=True))["input_ids"]
    whole = tokenizer(tokenizer.apply_chat_template([*SAID, answer], tokenize=False), return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logs = model(whole).logits[0, :-1].log_softmax(-1)
    mine = logs.gather(1, whole[0, 1:, None])[len(start) - 1 :, 0]
    return float(mine.mean())


def write(folder: Path, row: dict[str, object], long: dict[str, object]) -> None:
    folder.mkdir()
    figures = {"margin": 0.5, "task": "strokes", "shown": True, "lineage": "p1"}
    lines = [*[row | figures] * 8, long | figures, row | figures | {"lineage": "p2"}, row | figures | {"shown": False}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def tuned(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    flags = ["-o", str(folder / "tuned"), "--epochs", "4", "--learning-rate", "0.02", "--max-tokens", "400", "--cpu"]
    assert finetune.main([str(model), str(folder / "data" / "rows.jsonl"), *flags]) == 0
    told = capsys.readouterr().out
    assert "train: 8 rows, 1 longer than 400 tokens left out" in told and "validation: 1 rows, 0 longer" in told
    return folder / "tuned"


def test_sft_makes_the_reply_likelier(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = {"role": "assistant", "content": "word " * 200}
    write(tmp_path / "data", {"messages": [*SAID, GOOD]}, {"messages": [*SAID, long]})
    assert likelihood(tuned(model, tmp_path, capsys), GOOD) > likelihood(model, GOOD) + 0.5
