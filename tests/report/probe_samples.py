"""Measurements as a probe might bring them home, and some that it had better not."""

from __future__ import annotations

import math
import random

from normadvisor.types import (
    Applicability,
    Confidence,
    Finding,
    Fix,
    LayerMeasurements,
    Location,
    Measurements,
    Related,
    Report,
    Severity,
    Withdrawn,
)

SETUP = {
    "device": "cpu", "precision": "fp32", "steps": 10, "batch_size": 8, "world_size": 1, "inputs": "8x3x64x64", "data": "drawn values",
    "loss": "cross_entropy", "optimizer": "sgd", "lr": 0.1, "seed": 0, "torch": "2.15.0",
}  # fmt: skip


def steps(rng: random.Random, middle: float, spread: float = 0.3, count: int = 10) -> tuple[float, ...]:
    """Numbers about ``middle``, apart by factors of ten to the power of ``spread``."""
    return tuple(float(f"{middle * 10 ** (spread * rng.uniform(-1, 1)):.6g}") for _ in range(count))


def layer(rng, order, name, cls, op, *, parameters=0, grad=None, act=1.0, act_grad=1e-4, update=2e-3, path=None, **more):
    series = {
        "act_mean": steps(rng, 0.05), "act_std": steps(rng, act, 0.05), "act_abs_max": steps(rng, 4 * act), "act_grad_rms": steps(rng, act_grad),
        "act_grad_norm": steps(rng, act_grad * 300), "nonfinite": (0.0,) * 10,
    }  # fmt: skip
    if parameters:
        grad = 1e-3 if grad is None else grad
        series |= {
            "grad_norm": steps(rng, grad * math.sqrt(parameters)), "grad_rms": steps(rng, grad), "weight_norm": steps(rng, 0.05 * math.sqrt(parameters), 0.01),
            "update_ratio": steps(rng, update), "grad_nonfinite": (0.0,) * 10,
        }  # fmt: skip
    series |= more.pop("series", {})
    return LayerMeasurements(
        name=name, cls=cls, op=op, order=order, parameters=parameters, trainable=more.pop("trainable", parameters), units=64,
        location=Location(path, 10 + order % 20, 9) if path else None, series=series, facts=more.pop("facts", {}), **more,
    )  # fmt: skip


def resnet(target="models/resnet.py:Net", blocks=(2, 2, 2, 2), seed=1, path=None, lr_factor=1.0) -> Measurements:
    """A healthy residual network."""
    rng = random.Random(seed)
    layers = []

    def conv(name, size, **more):
        layers.append(layer(rng, len(layers), name, "Conv2d", "conv", parameters=size, grad=2e-3 * rng.uniform(0.4, 2), update=2e-3 * lr_factor, path=path, **more))

    def norm(name, size, noise):
        facts = {"bn_noise": noise * rng.uniform(0.7, 1.3), "bn_mean_noise": noise, "bn_var_noise": 1.4 * noise, "bn_tracks": True}
        series = {"bn_mean_gap": steps(rng, 0.3), "bn_var_gap": steps(rng, 0.2)}
        layers.append(layer(rng, len(layers), name, "BatchNorm2d", "batch_norm", parameters=2 * size, grad=4e-3, update=5e-3 * lr_factor, path=path, facts=facts, series=series))

    def relu(name):
        series = {"dead_share": steps(rng, 0.02), "zero_share": steps(rng, 0.5, 0.02)}
        layers.append(layer(rng, len(layers), name, "ReLU", "relu", series=series, facts={"dead_share": 0.01}, path=path))

    conv("conv1", 9408)
    norm("bn1", 64, 0.02)
    relu("relu")
    for stage, count in enumerate(blocks, 1):
        width = 64 * 2 ** (stage - 1)
        for block in range(count):
            for part in (1, 2):
                conv(f"layer{stage}.{block}.conv{part}", 9 * width * width)
                norm(f"layer{stage}.{block}.bn{part}", width, 0.02 * 2**stage)
                relu(f"layer{stage}.{block}.relu{part}")
    layers.append(layer(rng, len(layers), "fc", "Linear", "linear", parameters=5130, grad=2e-2, path=path))
    return Measurements(
        target=target,
        layers=tuple(layers),
        series={"loss": tuple(2.4 - 0.09 * step for step in range(10)), "grad_norm": steps(rng, 2.1, 0.15), "update_ratio": steps(rng, 2.2e-3 * lr_factor, 0.1), "seconds": steps(rng, 0.042, 0.05)},
        curves={"overfit": tuple(2.4 * 0.9**iteration for iteration in range(61))},
        facts={
            "initial_loss": 2.4, "expected_initial_loss": math.log(10), "classes": 10, "train_eval_similarity": 0.981, "train_eval_gap": 0.19,
            "eval_repeat_gap": 0.0, "eval_batch_gap": 1.2e-7, "noise_scale": 412.0, "overfit_first": 2.4, "overfit_last": 0.0043, "overfit_floor": 0.0,
            "real_data": False, "restored": True, "peak_memory": 812.4,
        },
        setup=SETUP,
        notes=("inputs were inferred: 8x3x64x64, normal", "loss: cross_entropy on 10 random classes, chosen because the output is 8x10 and the model ends in a linear layer"),
    )  # fmt: skip


def vanishing(target="models/deep_tanh.py:DeepTanh", depth=20, path=None) -> Measurements:
    """Tanh layers whose gradient fades towards the input."""
    rng = random.Random(2)
    layers = []
    for index in range(depth):
        fade = 10 ** (-0.42 * (depth - 1 - index))
        layers.append(layer(rng, len(layers), f"body.{2 * index}", "Linear", "linear", parameters=4160, grad=3e-3 * fade, act=0.6 ** index + 1e-4, act_grad=1e-3 * fade, update=3e-3 * fade, path=path))
        layers.append(layer(rng, len(layers), f"body.{2 * index + 1}", "Tanh", "tanh", act=0.55 ** index + 1e-4, act_grad=1e-3 * fade, path=path, series={"saturated_share": steps(rng, 0.62 if 4 < index < 9 else 0.02, 0.1)}))
    layers.append(layer(rng, len(layers), "head", "Linear", "linear", parameters=650, grad=5e-3, path=path))
    return Measurements(
        target=target, layers=tuple(layers),
        series={"loss": tuple(2.31 - 0.0004 * step for step in range(10)), "grad_norm": steps(rng, 0.4, 0.1), "update_ratio": steps(rng, 4e-4, 0.1), "seconds": steps(rng, 0.004)},
        curves={"overfit": tuple(2.31 - 0.004 * iteration for iteration in range(101))},
        facts={"initial_loss": 2.31, "expected_initial_loss": math.log(10), "classes": 10, "noise_scale": 61.0, "overfit_first": 2.31, "overfit_last": 1.91, "real_data": False, "restored": True},
        setup=SETUP | {"inputs": "8x64", "optimizer": "adamw", "lr": 1e-3},
        missing={"train_eval_gap": "no layer behaves differently in eval mode", "bn_noise": "no BatchNorm layer"},
        notes=("inputs were inferred: 8x64, normal",),
    )  # fmt: skip


def not_finite() -> Measurements:
    """A run that breaks in its third step."""
    rng = random.Random(3)
    nan, inf = math.nan, math.inf
    broken = {"act_std": (0.9, 1.1, nan, None, None), "nonfinite": (0.0, 0.0, 4096.0, None, None), "grad_norm": (0.1, 8e3, nan, None, None), "grad_rms": (1e-3, 80.0, inf, None, None), "grad_nonfinite": (0.0, 0.0, 512.0, None, None), "act_grad_rms": (1e-3, 2.0, nan, None, None), "update_ratio": (1e-3, 0.9, nan, None, None)}
    names = ("embed", "attention.query", "attention.key", "attention.scale", "attention.out", "mlp.0", "mlp.2", "head")
    layers = tuple(
        layer(rng, order, name, "Linear", "linear", parameters=4096, series=broken if order > 2 else {key: (*steps(rng, 1e-2, count=2), nan, None, None) for key in ("grad_norm", "grad_rms")})
        for order, name in enumerate(names)
    )  # fmt: skip
    return Measurements(
        target="models/attention.py:Attention", layers=layers,
        series={"loss": (4.1, 9.7, nan, None, None), "grad_norm": (1.1, 8e3, nan, None, None), "seconds": (0.01, 0.01, 0.01, None, None), "loss_scale": (65536.0, 65536.0, 32768.0, None, None)},
        facts={"initial_loss": 4.1, "nonfinite_step": 2, "nonfinite_layer": "attention.scale", "restored": True, "real_data": True},
        setup={"device": "cuda:0", "precision": "amp", "steps": 5, "batch_size": 1, "seed": 0, "optimizer": "adamw", "lr": 0.1},
        missing={"noise_scale": "step 3 was not finite", "overfit": "step 3 was not finite", "train_eval_gap": "step 3 was not finite"},
    )  # fmt: skip


def transformer(depth=96, seed=4, target="models/gpt.py:GPT") -> Measurements:
    """Blocks of attention and MLP: ``10 * depth + 4`` layers."""
    rng = random.Random(seed)
    layers = [layer(rng, 0, "transformer.wte", "Embedding", "embedding", parameters=38_597_376, grad=3e-6, act=0.02)]
    layers.append(layer(rng, 1, "transformer.wpe", "Embedding", "embedding", parameters=786_432, grad=2e-6, act=0.02))
    for block in range(depth):
        scale = 1 + 2 * (depth - block) / depth
        for name, cls, op, size in (
            ("ln_1", "LayerNorm", "layer_norm", 1536), ("attn.c_attn", "Conv1D", "linear", 1_771_776), ("attn.c_proj", "Conv1D", "linear", 590_592),
            ("attn.attn_dropout", "Dropout", "dropout", 0), ("attn.resid_dropout", "Dropout", "dropout", 0), ("ln_2", "LayerNorm", "layer_norm", 1536),
            ("mlp.c_fc", "Conv1D", "linear", 2_362_368), ("mlp.act", "GELU", "gelu", 0), ("mlp.c_proj", "Conv1D", "linear", 2_360_064), ("mlp.dropout", "Dropout", "dropout", 0),
        ):  # fmt: skip
            more = {"series": {"dead_share": steps(rng, 0.01 + 0.4 * (block > 0.9 * depth), 0.1)}} if op == "gelu" else {}
            layers.append(layer(rng, len(layers), f"transformer.h.{block}.{name}", cls, op, parameters=size, grad=1e-5 * scale * rng.uniform(0.6, 1.6), act=1 + block / 20, act_grad=1e-6 * scale, update=1.3e-3 * rng.uniform(0.7, 1.4), **more))
    layers.append(layer(rng, len(layers), "transformer.ln_f", "LayerNorm", "layer_norm", parameters=1536, grad=1e-3))
    layers.append(layer(rng, len(layers), "lm_head", "Linear", "linear", parameters=0, act_grad=3e-6))
    return Measurements(
        target=target, layers=tuple(layers),
        series={"loss": tuple(10.9 - 0.2 * step for step in range(10)), "grad_norm": steps(rng, 3.4, 0.2), "update_ratio": steps(rng, 1.1e-3, 0.1), "seconds": steps(rng, 1.7, 0.02)},
        facts={"initial_loss": 10.93, "expected_initial_loss": math.log(50257), "classes": 50257, "noise_scale": 21000.0, "restored": True, "peak_memory": 21822.0, "real_data": True},
        setup=SETUP | {"inputs": "4x1024:int64", "batch_size": 4, "optimizer": "adamw", "lr": 6e-4, "data": "corpus:batches"},
        missing={"overfit": "the budget of 60 s was spent"},
    )  # fmt: skip


def small(target="models/tiny.py:Tiny") -> Measurements:
    """Three layers."""
    rng = random.Random(5)
    layers = (
        layer(rng, 0, "0", "Linear", "linear", parameters=20, grad=0.02),
        layer(rng, 1, "1", "ReLU", "relu", series={"dead_share": (0.75,) * 10}, facts={"dead_share": 0.75}),
        layer(rng, 2, "2", "Linear", "linear", parameters=5, grad=0.05),
    )
    return Measurements(target=target, layers=layers, series={"loss": steps(rng, 0.6, 0.1), "grad_norm": steps(rng, 0.5)}, facts={"initial_loss": 0.7, "restored": True}, setup=SETUP | {"loss": "mse", "inputs": "8x4"})


def no_layers() -> Measurements:
    """A model without layers: nothing is measured of it but its loss."""
    return Measurements(target="models/empty.py:Empty", series={"loss": (1.0, 1.0)}, missing={"grad_norm": "the model has no parameters"}, setup={"device": "cpu"})


def unmeasured() -> Measurements:
    """Layers of which nothing is known."""
    layers = tuple(LayerMeasurements(name=f"block.{index}", cls="Linear", order=index, calls=0, series={"grad_norm": (None, None), "act_std": ()}) for index in range(5))
    return Measurements(target="models/none.py:Unmeasured", layers=layers, series={"loss": (None, None)}, facts={"noise_scale": None}, setup={"lr": None}, missing={"loss": "the first step failed: out of memory"})


HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</script><script>alert(3)</script>", "{{ 7 * 7 }}", "\u202egnp.exe\u202c", "\u05e9\u05dc\u05d5\u05dd.\u0645\u0631\u062d\u0628\u0627",
    "a" * 500, "</style><b>", "\x1b[31mred", "line\nbreak", "tab\tand & <amp>", "", "\ud800", "-->", "x' onmouseover='alert(4)", "\u6a21\u578b.\u5c42",
)  # fmt: skip


def hostile() -> Measurements:
    """Names and words that would like to be something else."""
    rng = random.Random(6)
    layers = tuple(layer(rng, order, name, name, "linear", parameters=64, facts={"bn_noise": 0.3}, series={"dead_share": steps(rng, 0.2)}) for order, name in enumerate(HOSTILE))
    return Measurements(
        target=HOSTILE[0], layers=layers, series={"loss": steps(rng, 1.0)}, facts={"nonfinite_layer": HOSTILE[1], "nonfinite_step": 0, HOSTILE[2]: HOSTILE[3]},
        setup={"device": HOSTILE[2], "loss": HOSTILE[3], HOSTILE[0]: HOSTILE[1]}, missing={HOSTILE[4]: HOSTILE[0]}, notes=HOSTILE,
    )  # fmt: skip


def finding(rule, name, severity, message, measured, modules, *, path=None, line=None, confidence=Confidence.CONFIRMED, **more) -> Finding:
    return Finding(rule=rule, name=name, severity=severity, confidence=confidence, message=message, path=path, line=line, column=None if line is None else 9, model=measured.target, modules=tuple(modules), fingerprint=rule, **more)


def vanishing_report(path="models/deep_tanh.py") -> Report:
    """What rules say of :func:`vanishing`."""
    measured = vanishing()
    faded = [f"body.{2 * index}" for index in range(12)]
    found = (
        finding("NA601", "vanishing-gradient", Severity.ERROR, "The gradient fades from body.38 towards the input: at body.0 it is 1.1e-8 of that at head; it falls 2.6 times per layer, from body.22 on down.", measured, faded,
                path=path, line=12, evidence={"ratio": 1.1e-8, "per_layer": 0.38, "steps": 10}, related=(Related(path, 21, "called here"),),
                fix=Fix(Applicability.DISPLAY, "Put BatchNorm or LayerNorm between Linear and Tanh, or use ReLU with He initialization.")),
        finding("NA604", "saturated-units", Severity.WARNING, "62 % of the values of 4 Tanh layers are in the flat part.", measured, [f"body.{2 * index + 1}" for index in range(5, 9)], path=path, line=13, evidence={"saturated_share": 0.62}),
        finding("NA503", "saturating-deep", Severity.WARNING, "20 Tanh layers follow each other without normalization.", measured, ["body.1"], path=path, line=13),
    )  # fmt: skip
    withdrawn = (Withdrawn(finding=finding("NA504", "init-activation-mismatch", Severity.INFO, "Default initialization with Tanh.", measured, ["body.0"], path=path, line=12, confidence=Confidence.SUSPECTED), reason="Outputs keep a standard deviation between 0.5 and 2 in the first layers, measured over 10 steps."),)
    return Report(findings=found, measurements=(measured,), withdrawn=withdrawn)


def hostile_report() -> Report:
    """:func:`hostile`, and findings that are no better."""
    measured = hostile()
    found = tuple(finding(text, text, severity, text, measured, HOSTILE, path=text or None, line=3, evidence={text: text, "list": [text]}, fix=Fix(Applicability.DISPLAY, text, title=text)) for text, severity in zip(HOSTILE, [*Severity] * 6, strict=False))
    return Report(findings=found, measurements=(measured,), withdrawn=(Withdrawn(finding=found[0], reason=HOSTILE[0]),))


def not_finite_report() -> Report:
    measured = not_finite()
    found = (finding("NA605", "non-finite", Severity.ERROR, "Step 3 gives values that are not finite, first in the output of attention.scale.", measured, ["attention.scale"], path="models/attention.py", line=31, evidence={"step": 3, "values": 4096}),)
    return Report(findings=found, measurements=(measured,))
