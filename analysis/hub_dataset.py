"""A study as a Hugging Face dataset folder: one Parquet file for each view, and a card that names them."""

from __future__ import annotations

from pathlib import Path

from analysis.export import write
from analysis.study import VIEWS, read_study
from programs.errors import UsageError

LEFT_OUT = ("events",)  # the ledger's records as they are, with paths of the machine


def hub_dataset(study: Path, folder: Path) -> dict[Path, int]:
    """Write the dataset; path → rows. A view without rows has no file, because a Parquet file of it has no types.

    Raises UsageError for a folder that is not empty, else as `analysis.export.write`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", hint="name a new folder")
    written: dict[Path, int] = {}
    names = [view for view in VIEWS if view not in LEFT_OUT]
    with read_study(study, views=names) as con:
        for view in names:
            count = con.execute(f"SELECT count(*) FROM {view}").fetchone()
            if rows := int(count[0]) if count else 0:
                written[write(con, view, folder / f"{view}.parquet", "parquet")] = rows
    (folder / "README.md").write_text(card(study.resolve().name, written), encoding="utf-8")
    return {**written, folder / "README.md": 1}


def card(name: str, files: dict[Path, int]) -> str:
    configs = "".join(f"- config_name: {path.stem}\n  data_files: {path.name}\n" for path in files)
    rows = "".join(f"| `{path.stem}` | {count:,} |\n" for path, count in files.items())
    return (
        f"---\npretty_name: metaloop study {name}\ntags:\n- metaloop\n- experiments\nconfigs:\n{configs}---\n"
        f"# Metaloop study {name}\n\nThe views of a study of programs of research: what each run and each experiment "
        "was given, what came of it, and what the arena measured on fresh seeds (`verified_gain`), and on data that no "
        "run saw unless `trust` is `self-reported`."
        f"\n\n| view | rows |\n|---|---|\n{rows}\n"
        '`datasets.load_dataset(FOLDER, "runs")` reads a view.\n'
    )
