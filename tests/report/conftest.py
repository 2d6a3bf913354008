from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from normadvisor.report import RenderOptions
from normadvisor.rulebook.model import Example, Examples, FixTemplate, Pattern, Reference, Rule
from normadvisor.types import (
    Applicability,
    Confidence,
    Edit,
    Finding,
    Fix,
    Location,
    ModelSummary,
    Operation,
    OperationKind,
    Part,
    Problem,
    Related,
    Report,
    Severity,
    Suppression,
    TraceKind,
)

# Test modules are imported one by one; this lets them share report_strategies.
sys.path.insert(0, str(Path(__file__).parent))

CLASSIFIER = '''\
import torch
from torch import nn


class Classifier(nn.Module):
    """Wants a bias it cannot use."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.norm = nn.BatchNorm2d(64)
        blocks = [Block(64) for _ in range(8)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.BatchNorm1d(
                64,
                eps=1e-3,
            ),
            nn.Linear(64, classes),
            nn.Softmax(dim=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(torch.relu(self.norm(self.stem(x)))))  # noqa: NA105
'''
LEGACY = "# -*- coding: latin-1 -*-\r\nfrom torch import nn\r\n\r\nnetz = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.ReLU())  # gr\u00f6\u00dfer\r\n"


def rule(identifier, name, severity, summary, why, *, fix=None):
    example = Example(code="pass")
    return Rule(
        id=identifier,
        name=name,
        severity=severity,
        scope="graph",
        summary=summary,
        why=why,
        references=[Reference(title="Wu & He 2018, Group Normalization", url="https://arxiv.org/abs/1803.08494", claim="34.7 % at batch 2")],
        pattern=Pattern(node="layer", op="norm"),
        message="x",
        examples=Examples(bad=[example], good=[example]),
        fix=fix,
    )


@pytest.fixture
def sample(tmp_path: Path) -> SimpleNamespace:
    """A report with something of everything, and options to render it without colours."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "classifier.py").write_text(CLASSIFIER)
    (models / "legacy.py").write_bytes(LEGACY.encode("latin-1"))
    classifier, legacy = str(models / "classifier.py"), str(models / "legacy.py")
    findings = (
        Finding(
            rule="NA102",
            name="bias-before-norm",
            severity=Severity.WARNING,
            confidence=Confidence.CONFIRMED,
            message="The bias of stem is cancelled by the BatchNorm2d norm: it costs memory and learns nothing.",
            path=classifier,
            line=10,
            column=21,
            end_line=10,
            end_column=73,
            model="models/classifier.py:Classifier",
            modules=("stem",),
            related=(Related(classifier, 26, "called here"), Related(classifier, 11, "norm is built here")),
            evidence={"bias_gradient": 2.6e-09, "weight_gradient": 0.02, "elements": 64},
            fix=Fix(
                Applicability.SAFE,
                "Pass bias=False to the Conv2d; the key stem.bias leaves the state_dict.",
                (Edit(classifier, 10, 72, 10, 72, ", bias=False"),),
                title="leave the bias out",
                trade_off="Nothing is lost.",
                operations=(Operation(kind=OperationKind.SET_ARGUMENT, part=Part("stem", "stem", "conv"), argument="bias", value=False),),
            ),
            fingerprint="a1b2c3d4e5f60718",
        ),
        Finding(
            rule="NA501",
            name="softmax-before-cross-entropy",
            severity=Severity.ERROR,
            confidence=Confidence.SUSPECTED,
            message="The model ends in a softmax, and cross_entropy applies another: logit gradients shrink 8.8 times at 10 classes.",
            path=classifier,
            line=22,
            column=13,
            end_line=22,
            end_column=30,
            model="models/classifier.py:Classifier",
            modules=("head.4",),
            evidence={"classes": 10, "loss_floor": 1.4612, "published": [8.8, 86, 710]},
            fix=Fix(Applicability.UNSAFE, "Remove the Softmax and return logits.", (Edit(classifier, 21, 39, 22, 30, ""),)),
            alternatives=(
                Fix(Applicability.UNSAFE, "Use LogSoftmax.", title="logarithm", trade_off="Outputs change.", refused="No line under the root builds it."),
                Fix(Applicability.DISPLAY, "Use a loss that takes probabilities.", title="another loss"),
                Fix(Applicability.UNSAFE, "Use Identity.", (Edit(classifier, 22, 13, 22, 23, "nn.Identity("),)),
            ),
            fingerprint="00ff00ff00ff00ff",
        ),
        Finding(
            rule="NA202",
            name="batchnorm-single-value",
            severity=Severity.WARNING,
            confidence=Confidence.SUSPECTED,
            message="One value per channel at batch 1.",
            path=classifier,
            line=17,
            column=13,
            end_line=20,
            end_column=14,
            model="models/classifier.py:Classifier",
            modules=("head.2",),
            fingerprint="1234",
        ),
        Finding(
            rule="NA105",
            name="consecutive-activations",
            severity=Severity.INFO,
            confidence=Confidence.CONFIRMED,
            message="ReLU after ReLU changes nothing.",
            path=legacy,
            line=4,
            column=50,
            end_line=4,
            end_column=59,
            model="models/legacy.py:netz",
            modules=tuple(f"layer{stage}.{block}.relu" for stage in (1, 2, 3) for block in range(4)),
            fix=Fix(Applicability.DISPLAY, "Drop one of them."),
            fingerprint="5678",
        ),
        Finding(
            rule="NA102",
            name="bias-before-norm",
            severity=Severity.WARNING,
            confidence=Confidence.CONFIRMED,
            message="Known since long.",
            path=classifier,
            line=21,
            column=13,
            end_line=21,
            end_column=35,
            model="models/classifier.py:Classifier",
            modules=("head.3",),
            suppressed=Suppression.BASELINE,
            fingerprint="9abc",
        ),
    )
    report = Report(
        findings=findings,
        models=(
            ModelSummary(
                target="models/classifier.py:Classifier", trace=TraceKind.SYMBOLIC, inputs="2x3x224x224", modules=61, nodes=88
            ),
            ModelSummary(target="models/legacy.py:netz", trace=TraceKind.EXECUTION, inputs="2x4", modules=3, nodes=5),
        ),
        problems=(
            Problem(
                target="models/broken.py:Net",
                message="Net needs 1 argument: width",
                location=Location(str(models / "broken.py"), 7, 5),
                hint="name a call: models/broken.py:Net(width=64)",
                details="Traceback (most recent call last):\n  ...\nTypeError: missing width",
            ),
        ),
        unused_noqa=(Location(classifier, 26, 85, 26, 90),),
    )
    rules = {
        "NA102": rule(
            "NA102",
            "bias-before-norm",
            Severity.WARNING,
            "A bias that the next normalization cancels",
            "Its gradient is 2.6e-9.",
            fix=FixTemplate(applicability=Applicability.SAFE, description="Pass bias=False."),
        ),
        "NA201": rule("NA201", "batchnorm-small-batch", Severity.INFO, "BatchNorm on few samples", "34.7 % error at batch 2."),
    }
    return SimpleNamespace(report=report, options=RenderOptions(root=tmp_path, rules=rules, width=100), root=tmp_path)
