"""Names of what a script does: the vocabulary that script rules and the analysis of scripts share.

An event is what a script rule matches, as a node is what a graph rule matches. The rule loader validates conditions against these tables
and a test holds the analysis to them.
"""

from __future__ import annotations

__all__ = ["EDITS", "EVENT", "EVENTS", "PLACES", "REASONS"]

_MODEL = {
    "model": "the expression that names the model, as written: `self.model`",
    "class_name": "class or factory that built it: `ResNet`, `torchvision.models.resnet18`; None if unknown",
    "mode": "`train`, `eval`, `mixed` or `unknown`: what the layers that depend on the mode are in",
    "batchnorm_mode": "the same, of its BatchNorm layers alone",
    "dropout_mode": "the same, of everything else that depends on the mode",
    "batchnorm": "`yes`, `no` or `unknown`: holds BatchNorm with running statistics",
    "dropout": "`yes`, `no` or `unknown`: holds active dropout or another layer that is random in train mode",
    "mode_dependent": "`yes`, `no` or `unknown`: any layer whose output depends on the mode",
    "layers": "list of what makes the mode matter: `BatchNorm2d at net.py:14`",
    "weights": "`loaded`, `trained`, `fresh` or `unknown`: where its weights come from",
    "function": "qualified name of the function around it; `<module>` at the top level",
}

EVENTS: dict[str, dict[str, str]] = {
    "model_call": {
        **_MODEL,
        "grad": "`on`, `off` or `unknown`: whether gradients are recorded",
        "purpose": "`training` if a backward pass reaches the output, `inference` if its use shows that none is meant, else `unknown`",
        "purpose_reason": "what shows the purpose: `under torch.no_grad()`, `in a function named evaluate`",
        "deliberate": (
            "None, or why train mode is meant: `monte_carlo_dropout`, `statistics_recalibration`, `sampling`, `momentum_encoder`, "
            "`smoke_test`, `adversarial`, `benchmark`, `option` (the caller or the user chooses the mode), `explicit` (the function itself "
            "switches into train mode and back)"
        ),
        "input": "`random`, `data` or `unknown`",
        "updates_statistics": "BatchNorm layers are in train mode here, so running statistics move",
        "batch_size": "samples per call if a literal says so, else None",
        "last_batch": "samples of the last, smaller batch if data set size and batch size are literals and it is kept, else None",
        "batchnorm_over_features": "`yes`, `no` or `unknown`: a BatchNorm whose statistics see one value per sample",
        "frozen_parameters": "`all`, `some`, `none` or `unknown`: parameters with `requires_grad=False`",
    },
    "optimizer_step": {
        **_MODEL,
        "holds_model": "`yes`, `no` or `unknown`: whether the optimizer was given this model's parameters",
        "deliberate": "None, or why eval mode is meant: `frozen_batchnorm`, `adversarial`, `style_transfer`, `linear_probe`",
        "after_evaluation": "the eval mode comes from an evaluation that did not switch back (not from before any training)",
        "freeze_undone": "BatchNorm layers had been put into eval mode on purpose and a later `train()` undid that",
        "accumulation": "True if gradients of several batches are added up before the step",
        "accumulation_steps": "how many, if a literal says so, else None",
        "batch_size": "samples per forward pass if a literal says so, else None",
    },
    "export": {
        **_MODEL,
        "exporter": "`torch.jit.trace`, `torch.jit.script`, `torch.export.export`, `torch.onnx.export`, ...",
        "switches_itself": "the exporter puts the model into eval mode itself (torch.onnx.export with dynamo=False)",
        "deliberate": "None, or why train mode is meant: `option`, `smoke_test`, `display` (the result is drawn or counted, not kept)",
        "can_switch_later": "the exported model still has both modes (torch.jit.script)",
    },
    "loss_call": {
        "loss": "`cross_entropy`, `nll`, `bce`, `bce_with_logits`, `mse` ...",
        "activation": "`softmax`, `log_softmax`, `sigmoid`, `log_sigmoid` or another last operation on the input; None if unknown or none",
        "through_model": "the activation stands inside the model that made the input",
        "through_function": "the activation stands in another function than the loss",
        "model": "the model that made the input, as written; None if unknown",
        "class_name": "its class or factory; None if unknown",
        "function": "qualified name of the function around it",
    },
    "dropout_call": {
        "call": "the function as written: `F.dropout`",
        "training": "`missing`, `true`, `false`, `mode` (follows `self.training`) or `unknown`",
        "p": "probability if a literal says so, else None",
        "in_module": "stands in a method of an nn.Module",
        "guarded": "runs only under a condition on the mode",
        "constructed": "a dropout module built where it is called",
        "deliberate": (
            "None, or why always-on dropout is meant: `monte_carlo_dropout`, `augmentation`, `documented` (a comment or a name says so)"
        ),
        "function": "qualified name of the function around it",
    },
    "initialization": {
        "call": "the function as written: `nn.init.zeros_`",
        "value": "the constant, else None",
        "target": "`weight`, `bias` or `parameters`",
        "layers": "list of layer types it is applied to: `Linear`, `Conv2d`; empty if unknown",
        "scope": "`every_layer` if it runs over all layers of a model, `one_layer` otherwise",
        "deliberate": (
            "None, or why a constant is meant: `residual_branch`, `adapter`, `head`, `norm`, `overwritten`, `random_biases` (which tell "
            "units apart), `unused` (nothing applies it)"
        ),
        "function": "qualified name of the function around it",
    },
    "optimizer": {
        "optimizer": "class name: `AdamW`",
        "weight_decay": "number if a literal says so, else None",
        "grouped": "parameters are given in groups",
        "covers_norm": "`yes`, `no` or `unknown`: decays scales and shifts of norm layers",
        "model": "the model whose parameters it holds, as written; None if unknown",
        "class_name": "its class or factory; None if unknown",
        "norm_layers": "list of norm layers of that model: `BatchNorm2d at net.py:14`",
        "function": "qualified name of the function around it",
    },
    "distributed_wrap": {
        **_MODEL,
        "wrapper": "`DistributedDataParallel`, `FullyShardedDataParallel` or `DataParallel`",
        "synchronized": "BatchNorm was converted to SyncBatchNorm before",
        "converted_after": "BatchNorm is converted after the wrap, which the wrapper does not see",
        "batch_size": "samples per process if a literal says so, else None",
        "device": "`cpu`, `cuda` or `unknown`",
    },
    "gradient_penalty": {
        **_MODEL,
        "per_sample": "`yes` or `unknown`: the penalty takes a norm per sample",
    },
}
"""Kinds of events, and their attributes with what they mean."""

PLACES: dict[str, str] = {
    "built": "where the model was built",
    "layer": "first layer that depends on the mode",
    "switch": "last switch of the mode on the path",
    "freeze": "where BatchNorm was put into eval mode or parameters were frozen",
    "undone": "the `train()` that undid the freeze",
    "no_grad": "where gradients were switched off",
    "optimizer": "where the optimizer was built",
    "step": "the optimizer step",
    "activation": "where the activation is applied",
    "loss": "where the loss was built",
    "loader": "where the data loader was built",
    "wrap": "where the model was wrapped",
    "called_from": "the call that led here",
    "entered_from": "the call in the script itself that led to an event in another file",
}
"""Further places an event may have; a rule names those it wants to show under `related`."""

EVENT: dict[str, str] = {
    "op": "kind of the event",
    "places": "list of the further places that are known: `switch`, `built` ...",
    "text": "source text of the expression",
    "some_layers": "some of `layers` or `norm_layers`, for a message: `BatchNorm2d at net.py:14 and 3 more`; None if none is known",
    "batchnorm_layers": "the same, BatchNorm layers alone",
    "other_layers": "the same, all but BatchNorm layers",
    "reason": "`deliberate` in words, for a message; None if it is None",
}
"""Attributes that every event has beside those of its kind."""

REASONS: dict[str, str] = {
    "adapter": "an adapter that starts as nothing",
    "adversarial": "adversarial examples",
    "augmentation": "an augmentation of the data",
    "benchmark": "a timing",
    "display": "the result is only looked at",
    "documented": "a comment or a name says so",
    "explicit": "this function switches into train mode and back",
    "frozen_batchnorm": "BatchNorm is frozen",
    "head": "the last layer",
    "linear_probe": "a linear probe",
    "momentum_encoder": "an average of another model's weights",
    "monte_carlo_dropout": "Monte Carlo dropout",
    "norm": "a scale or shift of a norm layer",
    "option": "an option or the caller chooses the mode",
    "overwritten": "set again later",
    "random_biases": "biases are drawn at random",
    "residual_branch": "the end of a residual branch",
    "sampling": "samples while it is being trained",
    "smoke_test": "a trial run",
    "statistics_recalibration": "statistics are gathered anew",
    "style_transfer": "style transfer",
    "unused": "nothing applies it",
}
"""What `deliberate` says, in words."""

EDITS: dict[str, str] = {
    "insert_eval": "put the model into eval mode before the call, and back into train mode where training goes on",
    "insert_train": "put the model back into train mode where training goes on",
    "remove_switch": "take the mode switch out",
    "switch_exported": "put the model into eval mode before it is exported",
    "refreeze": "put the BatchNorm layers back into eval mode after the `train()`",
    "drop_last": "drop the last, smaller batch of the data loader",
    "convert_sync": "convert BatchNorm to SyncBatchNorm before the wrap",
    "remove_activation": "hand the logits to the loss",
    "pass_training": "pass `training=self.training`",
}
"""Edits of the source that a fix may name, and what they do."""
