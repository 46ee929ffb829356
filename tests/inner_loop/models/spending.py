"""What a process of test_spend_limiter does: apart, for each imports the module anew."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from inner_loop.models.spend_limiter import Cost, SpendLimiter
from inner_loop.run_context import ModelConfig
from programs.common.errors import CapReached
from tests.serving import together


def spend(folder: Path, most: int, estimate: int) -> None:
    """Calls of 1 to 9 tokens, in two threads, until the cap is reached."""
    limiter, rng = SpendLimiter(folder, ModelConfig(max_tokens=most)), random.Random(os.getpid())

    def work(_: int) -> None:
        try:
            while True:
                key = limiter.start(Cost(estimate), "p", time.sleep)
                limiter.settle(key, Cost(rng.randint(1, 9)))
        except CapReached:
            return

    together(2, work)
