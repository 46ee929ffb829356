"""The entry point of the console script: Ctrl-C prints one line, also during the first imports."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    try:
        from meta.cli.main import main as carry_out
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    carry_out()


if __name__ == "__main__":
    main()
