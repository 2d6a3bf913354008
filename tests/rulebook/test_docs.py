"""The documentation is generated from the rules and published as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.rulebook import load_rules, load_text
from normadvisor.rulebook.docs import documentation, main, write_documentation
from normadvisor.rulebook.explain import explain_markdown
from normadvisor.rulebook.readable import readable

PUBLISHED = Path(__file__).parents[2] / "docs" / "rules"

RULE = """\
when: context.batch_size < 8
adjust:
  - {when: conv.bias, severity: error, message: "{conv.module}: worse"}
silenced_by: [AC002, AC003]
exempt: [Anything else.]
fix: {applicability: unsafe, description: "Set {{x}} of {conv.module}."}
"""

PAGE = """\
# small-rule (AC001)

Severity **warning** · looks at the traced model · confirmed · fix: unsafe

## What it does

A convolution before a norm.

> `conv` stands before `bn`

Runs where `context.batch_size < 8`.

- **error** where `conv.bias`: `conv`: worse

Gives way to AC002 and AC003 on the same layer.

## Why

Because.

## Numbers and sources

- A book

## Exemptions

- Anything else.

## Bad

Look.

```python
x = 1
```

Reported: line 1. Inputs: `2x3`. Context: `batch_size = 2`, `fine_tune = true`.

## Good

```python
y = 1
```

## Fixes

**Unsafe**: what is learned or stored changes.

Set {x} of `conv`.
"""


def test_a_page(rule_text):
    text = rule_text.replace("      expect: [1]", "      expect: [1]\n      note: Look.\n      inputs: 2x3\n      context: {batch_size: 2, fine_tune: true}")
    assert explain_markdown(load_text(text + RULE, "").rule) == PAGE


def test_fences_are_longer_than_those_inside(rule_text):
    assert "\n````python\n'```'\n````\n" in explain_markdown(load_text(rule_text.replace("code: y = 1", "code: \"'```'\""), "").rule)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{a.b_c:.3g} {{x}} {'y'}", "`b c` {x} `'y'`"),
        ("plain", "plain"),
        ("{[1, 2][0]}", "`[1, 2][0]`"),
        ("the bias of {layer.module} ({layer.cls}) before the {act.op}", "the bias of `layer` (`class`) before the `act`"),
        ("{bn.module or 'a call'} of {1 - drop.p:.3g}", "`bn` of `1 - p`"),
        ("{matches} norm{'s' if matches > 1 else ''}{' over all' if bn.sync else ' alone'}", "`matches` norm(s) alone"),
        ("{': } ' if a.b else a.c} {[name for name in ['first', 'second', 'third'] if name != a.op]}", "`': } ' if b else c` ..."),
    ],
)
def test_templates_as_text(template, text):
    assert readable(template) == text


def test_published_pages_are_current():
    published = {path.name: path.read_text(encoding="utf-8") for path in PUBLISHED.glob("*.md")}
    assert published == documentation(load_rules()), "run: python -m normadvisor.rulebook.docs"


def test_writing_changes_only_what_differs(tmp_path, rule_text):
    rule = load_text(rule_text, "").rule
    folder = tmp_path / "docs" / "rules"
    names = {"AC001.md", "index.md", "language.md", "rule.schema.json"}
    assert {path.name for path in write_documentation(folder, [rule])} == names
    assert write_documentation(folder, [rule]) == []
    (folder / "own.md").write_text("# Mine\n")
    (folder / "AC001.md").write_text("changed")
    assert [path.name for path in write_documentation(folder, [rule])] == ["AC001.md"]
    assert [path.name for path in write_documentation(folder, [])] == ["AC001.md", "index.md"]
    assert sorted(path.name for path in folder.iterdir()) == ["index.md", "language.md", "own.md"]


def test_as_a_program(tmp_path, capsys):
    assert main([str(tmp_path / "rules")]) == 0
    assert (tmp_path / "rules" / "index.md").is_file()
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: the documentation cannot be written: ")
