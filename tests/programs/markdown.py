"""Programs of the shapes that are found in public repositories, written for tests."""

from __future__ import annotations

MIXED = """\
---
title: {placeholder}
broken: [yaml
metaloop:   # ours
  name: mixed
  proposers: {queue: .7, local: 0.3}
  screen:
    fraction: 0.25
---
# Title

Intro text
wrapped here.

## Setup
- one `a`
  - nested

  second paragraph
- [ ] two

> quoted
> text

| a | b |
|---|---|
| 1 | `x` |
| 2 | y |

```bash
ls
```
### Ideas
1. Try `lr=2e-3`, `momentum=0.9`.
2. Second
<!-- a comment -->
"""

FIXTURES: dict[str, str] = {
    "mixed": MIXED,
    "one word": "Improve",
    "crlf": ("---\r\nmetaloop:\r\n  wave: 3\r\nother: 1\r\n---\r\n# T\r\n\r\n## Ideas\r\n\r\n- `a=1`\r\n- `b=2`\r\n"),
    "mixed line ends": "# T\r\n\n- one\n- two\r\n\rlast",
    "bom and front matter": "\ufeff---\nmetaloop:\n  wave: 2\n---\nGo.\n",
    "japanese": (
        "# 研究計画\n\n## 手順\n\n1. 学習率を変えて試す。\n2. 良ければ残し、悪ければ戻す。\n\n## Ideas\n\n"
        "- 学習率を上げる `lr=0.01`\n- バッチを小さくする `batch=16`\n"
    ),
    "foreign front matter": (
        "---\nname: researcher\ntools: [Read, Edit]\nmodel: {model}\ndescription: |\n"
        "  metaloop: no\n---\n\nYou are a researcher.\n"
    ),
    "front matter only": "---\nmetaloop:\n  wave: 4\n---\n",
    "flow mapping": "---\nmetaloop: {wave: 4, screen: {fraction: 0.5}}\n---\nGo.\n",
    "flow over lines": "---\nmetaloop: {\n  wave: 4,\n}\nx: 1\n---\nGo.\n",
    "empty block": "---\nmetaloop:\n---\nGo.\n",
    "dots close": "---\nmetaloop:\n  wave: 2\n...\nGo.\n",
    "thematic breaks": "---\n\nA text between two breaks\n\n---\n\nand another.\n",
    "checklist": (
        "## Setup\n\n- [ ] read `train.py`\n- [x] make a branch\n    - [ ] nested\n\n## Loop\n\n+ plus\n+ list\n"
    ),
    "fences": (
        "# T\n\nRun:\n```bash\n# not a heading\n- not an item\n\n"
        "uv run train.py > run.log\n```\nthen read.\n\n~~~\ntildes\n~~~\n\n"
        "    indented code\n\nend\n"
    ),
    "unclosed fence": "# T\n\nbefore\n\n```python\nx = 1\n",
    "table": ("# T\n\n| step | what |\n|:--|--:|\n| 1 | read \\| write |\n| 2 | `run` |\n\nafter\n"),
    "setext": "Title\n=====\n\nPart\n----\n\ntext\n\nIdeas\n-----\n* `x=1`\n",
    "quotes and lists": (
        "> # quoted heading\n> - quoted item\n>   more\n>\n> para\n\n1. one\n\n"
        "   para of one\n\n   ```\n   code of one\n   ```\n2. two\n\n"
        "   > quote of two\n"
    ),
    "loose ideas": (
        "# T\n\n## Ideas\n\nSome words first.\n\n- try `a=1`\n\n- try `b=2`\n\n"
        "  because of reasons\n\n- plain idea\n\nWords after.\n\n## Rules\n\n"
        "- keep `c`\n"
    ),
    "ideas twice": "## Ideas\n- `a=1`\n\n## Rules\n- stay\n\n## Ideas\n* `b=2`\n* `c=3`\n",
    "duplicates": "- same\n- same\n\n- same\n\npara\n\npara\n",
    "tight blocks": "para one\n```\ncode\n```\npara two\n- item\n\n---\n\nlast\n***\nend\n",
    "form feed and odd separators": "a\fb\u2028c\u0085d\n\n- x\x0by\n",
    "tabs": "#\tT\n\n-\ttabbed item\n\n\t-\tnested\n",
}
