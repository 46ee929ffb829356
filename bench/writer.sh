#!/usr/bin/env bash
# Tests examples/writer with the libraries that it is written for (verifiers, transformers, trl), which are no dependencies
# of metaloop and are not installed in CI: in a virtual environment of its own, which also sees this one's packages.
#
#   bench/writer.sh                    all of it; the second time without installing
#   VENV=DIR bench/writer.sh           where the environment is made (default: .writer-venv)
#   bench/writer.sh -k finetune        words for pytest
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-$(command -v python || command -v python3)}
venv=${VENV:-$PWD/.writer-venv}
if ! "$venv/bin/python" -c 'import verifiers, transformers, trl, torch' 2>/dev/null; then
  "$PYTHON" -m venv "$venv"
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/metaloop.pth"
  "$venv/bin/pip" install -q 'transformers>=4.50' 'trl>=0.20' 'verifiers>=0.4'
fi
"$venv/bin/python" -m pip list 2>/dev/null | grep -E '^(verifiers|transformers|trl|torch) '
export PYTHONPATH="$PWD:$PWD/examples/writer"
exec "$venv/bin/python" -m pytest -q -n 0 -p no:cacheprovider -c /dev/null --rootdir examples/writer examples/writer/tests "$@"
