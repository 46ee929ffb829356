"""The shape of the first autoresearch, with what keeps repositories from running as they are."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.foreign_repos import PREPARE, TRAIN, original


def broken(folder: Path) -> Path:
    """The original with a slip in train.py."""
    place = original(folder)
    (place / "train.py").write_text(TRAIN.replace("evaluate(weight)", "evaluate(wieght)"))
    return place


def downloading(folder: Path) -> Path:
    """Fetches its data when it is started."""
    place = original(folder)
    fetch = (
        "import urllib.request\n\nTIME_BUDGET = 0.1\n\nURL = 'https://data.example.org/shard_0.bin'\n"
        "data = urllib.request.urlopen(URL, timeout=5).read()\n"
    )
    (place / "prepare.py").write_text(PREPARE.replace("TIME_BUDGET = 0.1  # CPU-seconds\n", fetch))
    return place


def linked(folder: Path) -> Path:
    """Data by a link out of the repository."""
    place = original(folder)
    outside = folder.parent / "elsewhere"
    outside.mkdir(parents=True, exist_ok=True)
    (outside / "corpus.txt").write_text("text " * 100)
    (place / "data").symlink_to(outside)
    prepare = PREPARE + "\n\nassert len(open('data/corpus.txt').read()) == 500\n"
    (place / "prepare.py").write_text(prepare)
    return place


def heavy(folder: Path, megabytes: int = 50) -> Path:
    """The original with a large data file that its evaluation opens."""
    place = original(folder)
    with (place / "shard.bin").open("wb") as file:
        for _ in range(megabytes):
            file.write(b"0123456789abcdef" * (1 << 16))
    (place / "prepare.py").write_text(
        PREPARE + f"\n\nassert len(open('shard.bin', 'rb').read()) == {megabytes} << 20\n"
    )
    return place
