#!/usr/bin/env bash
# One chat run and one small evolve with a model of your own: llama.cpp's server, Ollama, or any server that speaks the
# OpenAI protocol. Prints its context size, and of each study tokens, failed calls and what became of them.
#
#   llama-server -m model.gguf -c 4096 --port 8080 &
#   OPENAI_API_BASE=http://127.0.0.1:8080/v1 bench/local_model.sh NAME
#   OLLAMA_CONTEXT_LENGTH=4096 ollama serve & ollama pull qwen3:4b
#   OPENAI_API_BASE=http://127.0.0.1:11434/v1 bench/local_model.sh qwen3:4b
#   python -m tests.llm.local llama.cpp 4096       a stand-in: its replies follow from the prompt, nothing is learnt
#
# TASK (strokes), RUN_BUDGET (the task's), CONTEXT (tokens, unknown), OUT (a new folder): of the two studies.
# Exit status: 0 both commands ended, 1 one of them failed, 2 there is no such server.
set -u -o pipefail
cd "$(dirname "$0")/.."
name=${1:?usage: OPENAI_API_BASE=http://127.0.0.1:8080/v1 bench/local_model.sh NAME}
base=${OPENAI_API_BASE:-${OPENAI_BASE_URL:-}}
[ -n "$base" ] || { echo "error: OPENAI_API_BASE is not set" >&2; exit 2; }
export OPENAI_API_BASE=$base OPENAI_API_KEY=${OPENAI_API_KEY:-none}
PYTHON=${PYTHON:-$(command -v python || command -v python3)}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
out=${OUT:-$(mktemp -d -t metaloop-local-XXXX)}
task=${TASK:-strokes}
metaloop() { "$PYTHON" -m meta.cli.start "$@"; }

# A first call loads the model.
body="{\"model\": \"$name\", \"max_tokens\": 1, \"messages\": [{\"role\": \"user\", \"content\": \"Say yes.\"}]}"
answer=$(curl -sS -m 300 -H "Authorization: Bearer $OPENAI_API_KEY" -H 'Content-Type: application/json' -d "$body" \
  "$base/chat/completions") || { echo "error: no answer from $base" >&2; exit 2; }
case $answer in
  *'"choices"'*) ;;
  *) echo "error: $base has no model $name: ${answer:0:300}" >&2; exit 2 ;;
esac

alone=(-n 1 --no-controls)
flags=(-t "$task" -m "openai/$name" --yes)
[ -z "${RUN_BUDGET:-}" ] || flags+=(-b "$RUN_BUDGET")
[ -z "${CONTEXT:-}" ] || flags+=(--set context_tokens="$CONTEXT")
plan=$(metaloop match stock "${alone[@]}" "${flags[@]}" --dry-run --json) || exit 1
"$PYTHON" -c '
import json, sys
plan = json.loads(sys.argv[1])
print("context tokens:", plan["context_tokens"], "| longest reply:", plan["reply_tokens"])
' "$plan"

# The calls of a study; a reason is shown with the models own words, of which there may be many.
summary="SELECT purpose, status, count(*) AS calls, sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out,
  max(tokens_in) AS longest_prompt, left(any_value(reason), 120) AS reason FROM calls GROUP BY ALL ORDER BY ALL"
children="SELECT CASE WHEN call IS NULL THEN 'offline operators' ELSE coalesce(model, 'no reply') END AS writer, count(*) FILTER (accepted) AS children,
  count(*) FILTER (NOT accepted) AS refused, left(any_value(reason) FILTER (NOT accepted), 120) AS a_reason
  FROM mutations GROUP BY ALL ORDER BY ALL"
failed=0
carry_out() { # STUDY COMMAND...
  local study=$1
  shift
  echo "== metaloop $*"
  metaloop "$@" -s "$study" >"$study.log" 2>&1 || { failed=1; echo "failed: $(grep -m1 ^error "$study.log")"; }
  [ -d "$study" ] || return 0
  metaloop sql "$study" "$summary" 2>/dev/null
}
carry_out "$out/chat" match stock "${alone[@]}" "${flags[@]}"
[ -d "$out/chat" ] && metaloop sql "$out/chat" \
  "SELECT r.state, count(e.experiment_id) AS experiments, any_value(r.verified_gain) AS verified_gain
   FROM runs r LEFT JOIN experiments e USING (run_id) GROUP BY r.run_id, r.state" 2>/dev/null
carry_out "$out/evolve" evolve --quick -r scripted "${flags[@]}"
[ -d "$out/evolve" ] && metaloop sql "$out/evolve" "$children" 2>/dev/null
echo "== the studies are in $out"
exit "$failed"
