"""Logs as people write them, made up for these tests: one for each irregularity that was seen in the wild."""

from __future__ import annotations


def tsv(*rows: str) -> str:
    """Rows with ``|`` where a tab belongs."""
    return "".join(row.replace("|", "\t") + "\n" for row in rows)


CANONICAL = tsv(
    "commit|val_bpb|memory_gb|status|description",
    "a11ce01|1.120000|21.5|keep|baseline",
    "b0bca02|1.108000|21.5|keep|raise the learning rate → 0.06",
    "c0ffe03|1.131000|21.6|discard|GELU in place of ReLU²",
    "dabba04|0.000000|0.0|crash|double the depth (out of memory)",
    "e66ee05|1.101000|21.4|keep|drop weight decay",
)
ORDER = tsv(
    "timestamp|experiment|status|loc|val_rmse|seed|steps|train_seconds|hypothesis|branch|peak_vram_mb|lr|epochs|host",
    "t0|exp1|keep|90|0.52|7|1000|61.5|baseline|main|2048|.1|3|box",
    "t1|exp2|reverted|91|0.55|7|1000|62.5|wider layers|main|4096|.1|3|box",
    "t2|exp3|accepted|92|0.50|7|1000|60.5|cosine schedule|main|2048|.1|3|box",
)
LONG = tsv(
    "experiment_id|metric_name|metric_value|metric_direction|status|notes",
    "e1|auc|0.70|higher|keep|baseline",
    "e1|latency_ms|12|lower|keep|baseline",
    "e2|auc|0.74|higher|keep|add interactions",
    "e2|latency_ms|14|lower|keep|add interactions",
    "e3|auc|0.73|higher|discard|drop a feature",
    "e9|latency_ms|11|lower|keep|on its own",
)
PROSE = (
    CANONICAL
    + """
## What I learned tonight
The learning rate was the thing.   Next: look at the optimizer, the batch size, and the data.

- weight decay\tdoes nothing here
"""
)
STATUSES = tsv(
    "commit|val_loss|status|description",
    "a1|2.0|BASELINE|start",
    "a2|1.9|KEPT|x",
    "a3|1.8|new_best|x",
    "a4|1.7|Approved|x",
    "a5|1.6|support|x",
    "a6|1.75|Rejected|x",
    "a7|1.6|neutral|x",
    "a8|-|OOM|x",
    "a9|-|FAILED|x",
    "a10|-|skip|x",
    "a11|1.65|tentative|x",
    "a12|-|pending|x",
    "a13|1.5|keep (best so far!)|x",
    "a14|1.7|❌|x",
    "a15|1.4|✅ keep|x",
    "a16|1.62|partial|x",
    "a17|1.6|hmm|a word that nobody knows",
    "a18|1.9|no_improvement|x",
)
RERUN_LOWER = tsv(
    "commit|fitness|status|description",
    "a1a1a11|0.10|keep|baseline",
    "b2b2b22|0.15|keep|wider net",
    "c3c3c33|0.90|new_best|lucky restart",
    "c3c3c33|0.31|discard|re-run of the best, seed 2",
    "c3c3c33|0.29|discard|re-run of the best, seed 3",
    "c3c3c33|0.30|discard|rerun seed 4",
    "d4d4d44|0.20|discard|something else",
)
SHARES = tsv(
    "commit|val_err|status|description",
    "a|0.30|keep|start",
    "b|0.29|keep|wider",
    "c|0.19|keep|deeper",
    "d|0.18|keep|longer",
)
ONLY_CRASHES = tsv(
    "commit|val_bpb|memory_gb|status|description",
    "a11ce01|0.000000|0.0|crash|import error",
    "b0bca02|0.000000|0.0|crash|import error again",
)
UNSURE = tsv("commit|performance|description", "a1|3.0|start", "a2|2.0|one", "a3|4.0|two")
SEVERAL = tsv("id|alpha_x|beta_y|description", "1|3.0|1.5|start here", "2|2.0|1.6|go on", "3|4.0|1.7|and on")
OF_A_NIGHT = """# Night

| # | sha | loss (bpb) ↓ | VRAM | what I changed |
|--:|:---|---:|---:|:---|
| 0 | `a11569f` | **1.0027** | 44.0 GB | baseline |
| 1 | `1f0f2fe` | **0.9954** | 43.7 GB | a larger step |
"""
COMMAS = 'commit,val_acc,status,description\na1a1a11,0.90,keep,baseline\nb2b2b22,0.91,keep,"wider, deeper"\n'
ESCAPED = "commit\\tval_bpb\\tstatus\\tdescription\na1a1a11\\t1.2\\tkeep\\tbaseline\n"
NOT_A_LOG = "name\tcity\nAda\tLondon\nAlan\tManchester\n"
FAILURES = tsv(
    "commit|val_bpb|memory_gb|status|description",
    "a1b2c3d|0.9979|44.0|keep|baseline",
    "b2c3d4e|0.9932|44.2|keep|lr 0.04",
    "e4e5f6a|NaN|44.0|DIVERGED|lr 0.2",
    "f4e5f6a|nan|44|discard|lr 0.1",
    "11e5f6a|DIVERGED|44||lr 0.3",
    "22e5f6a|TIMEOUT|44|-|depth 20",
    "33e5f6a|OOM|80|discard|batch 512",
    "44e5f6a|INVALID|1|invalid|changed the evaluation",
    "55e5f6a|segfault|1||a kernel",
)
OTHER_TABLES = (
    FAILURES
    + '{"best": 0.99,\n "runs": [1, 2]}\n'
    + tsv("exp_id|latency_ms|tok_s|verdict|note", "e1|12|100|keep|a", "e2|11|101|revert|b")
    + tsv("", "layer|weights|share|kind|of", "w1|1000|0.4|dense|all", "w2|1500|0.6|dense|all")
)
RECORDS = """{"iteration": 0, "commit": "a1b2c3d", "val_loss": 2.3, "status": "baseline", "description": "start"}
{"iteration": 1, "val_loss": 2.2, "status": "keep", "description": "x", "settings": {"lr": 0.01}}
{"iteration": 2, "val_loss": null, "status": "crash", "description": "deep", "settings": {"depth": 20}}
{
  "iteration": 3, "val_loss": NaN, "status": "discard",
  "description": "{unbalanced", "settings": {"lr": 1.0}
}
"""
