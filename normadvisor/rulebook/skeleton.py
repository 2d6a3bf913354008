"""A new rule to start from: valid, tested, and commented where the author has to decide."""

from __future__ import annotations

import os
import re
from pathlib import Path

from normadvisor.errors import RuleError
from normadvisor.rulebook.check import ID_FORM, NAME_FORM
from normadvisor.types.words import nearest

__all__ = ["SCOPES", "new_rule", "schema_beside"]

SCHEMA_FILE = "rule.schema.json"

_GRAPH = """\
{schema}# One rule, one file. 'normadvisor rule test {folder}' runs the examples below as tests;
# 'normadvisor rule schema' prints what every key means.
id: {id}
name: {name}
severity: warning # info, warning or error
scope: graph # graph: the traced model; script: the source; probe: a measurement
summary: A batch normalization with a momentum of zero # one line without a full stop
# The reason, with numbers.
why: |
  With a momentum of 0 the running statistics keep their first values, mean 0 and variance 1, however long the model trains. In eval mode
  the layer then normalizes with numbers that have nothing to do with the data.
references:
  - title: PyTorch documentation, BatchNorm2d
    url: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
    claim: running = (1 - momentum) * running + momentum * batch
# A node of the graph, and what must be true around it: 'precedes' and 'follows' reach other nodes along the data flow,
# 'without' says what must not be there. Names given here are known in every expression and template below.
pattern:
  node: bn
  op: batch_norm # an operation or a group of operations
  where: bn.momentum == 0 and bn.track_running_stats
message: "{{bn.module}} never updates its running statistics: its momentum is {{bn.momentum}}"
# evidence: what the finding rests on, as expressions.
evidence:
  momentum: bn.momentum
fix:
  title: the default momentum # a few words for a menu
  applicability: unsafe # safe: the same function is computed; unsafe: what is learned or stored changes; display: words only
  description: Leave momentum at its default of 0.1; the state_dict keeps its keys, and the running statistics must be trained.
  trade_off: Evaluation then depends on what was trained last.
  # What is done to the layers, in the source and in a model in memory; docs/rules/language.md lists the kinds.
  change:
    kind: set_argument
    of: bn
    argument: momentum
    value: 0.1
# alternatives: other fixes, offered beside this one.
# What the rule leaves alone and why.
exempt:
  - Layers that keep no running statistics.
examples:
  bad:
    - code: |
        from torch import nn


        def net():
            return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.0))
      inputs: [2x3x8x8]
      expect: ["5:warning"] # LINE or LINE:severity of every finding
  good: # the tempting look-alikes
    - code: |
        from torch import nn


        def net():
            return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.0, track_running_stats=False))
      inputs: [2x3x8x8]
  fixed: # the bad examples, mended
    - code: |
        from torch import nn


        def net():
            return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
      inputs: [2x3x8x8]
"""

_SCRIPT = """\
{schema}# One rule, one file. 'normadvisor rule test {folder}' runs the examples below as tests;
# 'normadvisor rule schema' prints what every key means.
id: {id}
name: {name}
severity: warning # info, warning or error
scope: script # graph: the traced model; script: the source; probe: a measurement
summary: A weight decay above 0.5 # one line without a full stop
# The reason, with numbers.
why: |
  Each step shrinks every weight by learning rate times weight decay. At a rate of 0.1 a decay of 0.5 halves the weights every 14 steps,
  which leaves the loss little to say.
references:
  - title: PyTorch documentation, SGD
    url: https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html
    claim: the decay times the weight is added to the gradient
# An event of the script, and what must be true of it; docs/rules/language.md lists the kinds and their attributes.
# 'any_of' and 'without' hold further conditions. Names given here are known in every expression and template below.
pattern:
  node: optimizer
  op: optimizer # a kind of event or a list of them
  where: optimizer.weight_decay > 0.5
message: "{{optimizer.optimizer}} shrinks the weights of {{optimizer.model or 'the model'}} with a decay of {{optimizer.weight_decay}}"
# related: further places of the event that explain the finding.
related: [built]
# evidence: what the finding rests on, as expressions.
evidence:
  weight_decay: optimizer.weight_decay
fix:
  title: a smaller weight decay # a few words for a menu
  applicability: unsafe # safe: the same function is computed; unsafe: what is learned or stored changes; display: words only
  description: Use a smaller weight decay, such as 1e-4; the model must be trained again.
# What the rule leaves alone and why.
exempt:
  - Decays that no literal says.
examples:
  bad:
    - code: |
        import torch
        from torch import nn

        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.9)
      expect: ["5:warning"] # LINE or LINE:severity of every finding
  good: # the tempting look-alikes
    - code: |
        import torch
        from torch import nn

        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.9, weight_decay=0.0001)
  fixed: # the bad examples, mended
    - code: |
        import torch
        from torch import nn

        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.0001)
"""

_PROBE = """\
{schema}# One rule, one file. 'normadvisor rule test {folder}' probes the examples below as tests;
# 'normadvisor rule schema' prints what every key means.
id: {id}
name: {name}
severity: warning # info, warning or error
scope: probe # graph: the traced model; script: the source; probe: a measurement
summary: An embedding whose values are far larger than those of the layers behind it # one line without a full stop
# The reason, with numbers.
why: |
  Embeddings start with a standard deviation of 1, linear layers with 1 / sqrt(3 n) for n inputs. A position that is added to such an
  embedding hardly shows.
references:
  - title: PyTorch documentation, Embedding
    url: https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html
    claim: the weights are drawn with mean 0 and standard deviation 1
# A measured layer and what must be true of it; docs/rules/language.md lists what is measured of layers and of the run.
# Without 'layer', 'where' asks the run alone. Names given here are known in every expression and template below.
pattern:
  layer: table
  op: embedding # an operation or a group of operations; any for all
  where: table.act_std > 10
# site: one finding per line that builds layers; model: one for all of them, and 'table_all' lists them from the first to the last.
report: site
message: "the output of {{table.name}} has a standard deviation of {{table.act_std:.2g}}"
# evidence: what the finding rests on, as expressions.
evidence:
  act_std: table.act_std
fix:
  title: a smaller start # a few words for a menu
  applicability: display # a measurement knows no constructor: say in words what to do
  description: Initialise {{table.name}} with a standard deviation of 0.02; the model must be trained again.
# explained_by: static rules that name the cause; where one speaks on the same layers the finding refers to it.
# What the rule leaves alone and why.
exempt:
  - Embeddings that a normalization follows, which takes their scale off.
examples:
  bad:
    - code: |
        from torch import nn


        def net():
            table = nn.Embedding(100, 16)
            nn.init.normal_(table.weight, std=30.0)
            return nn.Sequential(table, nn.Linear(16, 4))
      inputs: ["4x8:int64"]
      expect: ["5:warning"] # LINE or LINE:severity of every finding
      # probe: {{batch_size: 16, lr: 0.01}}: how it is probed, where that matters
  good: # the tempting look-alikes
    - code: |
        from torch import nn


        def net():
            return nn.Sequential(nn.Embedding(100, 16), nn.Linear(16, 4))
      inputs: ["4x8:int64"]
  fixed: # the bad examples, mended
    - code: |
        from torch import nn


        def net():
            table = nn.Embedding(100, 16)
            nn.init.normal_(table.weight, std=0.02)
            return nn.Sequential(table, nn.Linear(16, 4))
      inputs: ["4x8:int64"]
"""

_TEXTS = {"graph": _GRAPH, "script": _SCRIPT, "probe": _PROBE}
SCOPES = tuple(_TEXTS)
"""What a new rule may look at."""


def schema_beside(folder: Path) -> Path | None:
    """The published schema for editors: ``rule.schema.json`` in the folder, or under ``docs`` of a folder above it."""
    folder = folder.resolve()
    places = [folder / SCHEMA_FILE, *(parent / "docs" / SCHEMA_FILE for parent in (folder, *folder.parents))]
    return next((place for place in places if place.is_file()), None)


def new_rule(rule_id: str, name: str, folder: Path, scope: str = "graph") -> Path:
    """Write the file of a new rule.

    Args:
        rule_id: such as ``AC001``.
        name: words joined by hyphens.
        folder: where rules are kept; made if it is not there.
        scope: what it looks at, one of :data:`SCOPES`.

    Returns:
        The path of the file.

    Raises:
        RuleError: the id, the name or the scope is malformed, the file exists, or it cannot be written.

    """
    if scope not in _TEXTS:
        raise RuleError(f"no rule can be started for the scope '{scope}'", hint=nearest(scope, SCOPES) or f"one of {', '.join(SCOPES)}")
    if not re.fullmatch(ID_FORM, rule_id):
        raise RuleError(f"'{rule_id}' is not a rule id", hint="two or more capitals and three digits, such as AC001")
    if not re.fullmatch(NAME_FORM, name):
        raise RuleError(f"'{name}' is not a rule name", hint="lower-case words joined by hyphens, such as momentum-zero")
    path = folder / f"{rule_id}-{name}.yaml"
    if folder.is_dir():
        taken = next((file for suffix in ("yaml", "yml") for file in sorted(folder.rglob(f"{rule_id}-*.{suffix}"))), None)
        if taken is not None:
            raise RuleError(f"there is already a rule {rule_id}: '{taken}'", hint="choose another id, or edit that file")
    schema = schema_beside(folder)
    hint = f"# yaml-language-server: $schema={Path(os.path.relpath(schema, folder.resolve())).as_posix()}\n" if schema else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Never over an existing file, not even one made a moment ago.
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(_TEXTS[scope].format(schema=hint, folder=folder, id=rule_id, name=name))
    except FileExistsError as error:
        raise RuleError(f"'{path}' is there already", hint="choose another id or --dir") from error
    except OSError as error:
        raise RuleError(f"'{path}' cannot be written: {error.strerror}", hint="choose another --dir") from error
    return path
