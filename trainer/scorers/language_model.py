"""Scores a language model in bits per byte of hidden text: in chunks for feedback, by streaming for verification.

`scored`: the process gets whole rows, with hidden probes that usually detect a model that looks ahead. Code that
searches for the probes can evade them. `verified`: the process gets one symbol at a time, so it cannot look ahead. The
same checkpoint is then evaluated in other ways to detect what streaming cannot exclude: learning across rows, and a
chunk score that is better than the streamed one.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from programs.common.errors import TaskError
from trainer.scoring import (
    Score,
    ScoreSettings,
    finite_logits,
    negative_log_likelihood,
    read_rows,
    refuse_different,
    refuse_diverged,
)
from trainer.scoring.referee import Referee
from trainer.scoring.streaming import stream_losses

_PROBE_SHARE, _MIN_PROBES = 20, 4  # one probe per 20 rows, at least 4
_PUBLIC_BYTES = 16 << 10  # of the public split, on which chunks and streaming are compared
_AGAIN = 16  # rows that are streamed again, mixed with other rows
GAP = 1e-4  # allowed difference of chunks and streaming, bits per byte; float32 on a CPU: 1e-7


class Text(NamedTuple):
    """Rows of a split: inputs and targets int64 [rows, positions] (targets below 0 do not count), bytes [rows]."""

    inputs: Any
    targets: Any
    sizes: Any

    @classmethod
    def read(cls, split: Path) -> Text:
        """Read the task's files; TaskError if the numbers of bytes are invalid."""
        import numpy as np

        (inputs, targets), sizes = read_rows(split), np.load(split / "bytes.npy")
        if sizes.shape != inputs.shape[:1] or (sizes < 0).any() or not 0 < float(sizes.sum()) < math.inf:
            message = f"{split / 'bytes.npy'}: no number of bytes for each row"
            raise TaskError(message, hint="data.py must write it")
        return cls(inputs, targets, sizes)

    def take(self, rows: Any) -> Text:
        return Text(self.inputs[rows], self.targets[rows], self.sizes[rows])

    def head(self, limit: int) -> Text:
        """The first rows with at most ``limit`` bytes in total, at least one row: the same for every candidate."""
        return self.take(slice(max(1, int((self.sizes.cumsum() <= limit).sum()))))

    def bits_per_byte(self, losses: Any) -> float:
        """Bits per byte of losses in nats [rows, positions]: the sum over the targets, divided by their bytes."""
        return float(losses[self.targets >= 0].sum()) / (float(self.sizes.sum()) * math.log(2))


class LanguageModel:
    """Bits per byte. ``[score]``: ``stream_kb`` limits streaming, ``tolerance`` is in nats, ``seconds`` wall time."""

    per_position = True
    needs_checkpoint = True

    def __init__(self, scoring: ScoreSettings) -> None:
        self.classes: int = scoring["classes"]
        self.stream_bytes: int = scoring.get("stream_kb", 48) << 10
        self.tolerance: float = scoring.get("tolerance", 1e-3)
        self.seconds: float = scoring.get("seconds", 600.0)

    def score(self, referee: Referee) -> Score:
        text = Text.read(referee.split)
        if not referee.verifying:
            return Score(self._metric(text, self._chunks_with_probes(referee, text)), "scored")
        text = text.head(self.stream_bytes)
        losses = self.streamed(referee, text)
        metric = self._metric(text, losses)
        return Score(metric, "verified", () if referee.checked else self._verify(referee, text, losses))

    def _metric(self, text: Text, losses: Any) -> float:
        guess = text.bits_per_byte((text.targets >= 0) * math.log(self.classes))
        return refuse_diverged(text.bits_per_byte(losses), guess, "bits per byte")

    def losses(self, logits: Any, targets: Any) -> Any:
        """Nats [rows, positions] of logits [rows, positions, classes]."""
        flat = negative_log_likelihood(logits.reshape(-1, self.classes), targets.reshape(-1))
        return flat.reshape(targets.shape)

    def _chunks_with_probes(self, referee: Referee, text: Text, *, refuse: bool = True) -> Any:
        """Losses of the rows, predicted together with probes: copies that continue with another row's text after a cut.

        Predictions before the cut must be the same as for the original, unless the model looks ahead. Without
        ``refuse`` the probes are not compared; they are included so that a model cannot recognise this call.
        """
        import numpy as np

        rng = referee.rng("probes")
        rows, positions = text.inputs.shape
        count = max(_MIN_PROBES, rows // _PROBE_SHARE)
        originals = rng.integers(rows, size=count)
        others = (originals + rng.integers(1, max(2, rows), size=count)) % rows
        cuts = rng.integers(1, max(2, positions), size=count)
        after = np.arange(positions) >= cuts[:, None]
        probes = np.where(after, text.inputs[others], text.inputs[originals])
        order = rng.permutation(rows + count)
        row_of = np.argsort(order)  # positions of the rows, then of the probes, among all
        logits = referee.predict(np.concatenate([text.inputs, probes])[order])
        for original, cut, probe in zip(originals, cuts, row_of[rows:], strict=True) if refuse else ():
            # compare the losses of all symbols, not only of the targets: a leak must change some of them
            first, two = (_log_softmax(logits[at, :cut]) for at in (row_of[original], probe))
            refuse_different(first, two, self.tolerance, "predictions change with later text (a leak)")
        return self.losses(logits[row_of[:rows]], text.targets)

    def streamed(self, referee: Referee, text: Text) -> Any:
        """Losses [rows, positions] of a fresh process that receives the symbols one by one."""
        rows = len(text.inputs)
        talk = partial(
            stream_losses,
            inputs=text.inputs,
            targets=text.targets,
            classes=self.classes,
            seconds_per_step=self.seconds / 10,
            seconds_total=self.seconds,
        )
        return referee.converse({"rows": rows, "classes": self.classes}, rows * self.classes * 4, talk)

    def _verify(self, referee: Referee, text: Text, losses: Any) -> tuple[str, ...]:
        """Stream rows of the hidden text again in a fresh process, in another order and mixed with public rows."""
        import numpy as np

        public = Text.read(referee.public_split)
        if public.inputs.shape[1:] != text.inputs.shape[1:]:
            message = f"{referee.public_split}: its rows and the hidden rows differ in length"
            raise TaskError(message, hint="see data.py")
        rng = referee.rng("rows")
        public = public.take(rng.permutation(len(public.inputs))).head(_PUBLIC_BYTES)
        chosen = rng.permutation(len(text.inputs))[: max(1, min(_AGAIN, len(text.inputs) // 2))]
        both = [np.concatenate(pair) for pair in zip(text.take(chosen), public, strict=True)]
        order = rng.permutation(len(both[0]))
        repeated = self.streamed(referee, Text(*both).take(order))[np.argsort(order)]
        refuse_different(
            losses[chosen], repeated[: len(chosen)], self.tolerance, "a row's score depends on the other rows"
        )
        return self._gap(public, self._chunks_with_probes(referee, public, refuse=False), repeated[len(chosen) :])

    def _gap(self, text: Text, chunks: Any, streaming: Any) -> tuple[str, ...]:
        """The finding if chunks and streaming give different scores on the same text."""
        whole, stepwise = text.bits_per_byte(chunks), text.bits_per_byte(streaming)
        if abs(whole - stepwise) <= GAP:
            return ()
        kind = "leak" if whole < stepwise else "step"
        return (f"{kind}: chunks score {whole:.5f}, streaming {stepwise:.5f} on the same text",)


def _log_softmax(logits: Any) -> Any:
    """The log-softmax in float64, [n, classes]. InvalidPredictions if not finite."""
    import numpy as np

    rows = finite_logits(logits)
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


make = LanguageModel
