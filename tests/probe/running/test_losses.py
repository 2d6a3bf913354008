"""Which loss a model gets: by what it returns, what the data holds, what was asked for, and what its outputs look like."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.errors import ProbeError, UsageError
from normadvisor.types import RunContext


class Returns(nn.Module):
    """Gives what a function makes of features."""

    def __init__(self, make, features=6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(features, 12)
        self.make = make

    def forward(self, x):
        return self.make(self.linear(x))


def chosen(measured):
    words = next(note for note in measured.notes if note.startswith("loss: "))
    return measured.setup["loss"], words, measured.facts.get("classes"), measured.facts.get("expected_initial_loss")


ENDS = {
    "linear": (nn.Linear(6, 5), ("cross_entropy", "loss: cross entropy on 5 random classes", 5, math.log(5))),
    "log_softmax": (
        nn.Sequential(nn.Linear(6, 5), nn.LogSoftmax(1)),
        (
            "cross_entropy",
            "loss: cross entropy on 5 random classes, the negative log likelihood of an output that ends with log_softmax",
            5,
            math.log(5),
        ),
    ),
    "functional log_softmax": (
        Returns(lambda h: F.log_softmax(h, 1)),
        (
            "cross_entropy",
            "loss: cross entropy on 12 random classes, the negative log likelihood of an output that ends with log_softmax",
            12,
            math.log(12),
        ),
    ),
    "softmax": (
        Returns(lambda h: h.softmax(1)),
        (
            "cross_entropy",
            "loss: cross entropy on 12 random classes, the negative log likelihood of an output that ends with softmax",
            12,
            math.log(12),
        ),
    ),
    "sigmoid": (
        nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()),
        ("bce", "loss: binary cross entropy on random labels, because the output ends with sigmoid", 2, math.log(2)),
    ),
    "functional sigmoid": (
        Returns(lambda h: h.sigmoid()[:, :1]),
        ("bce", "loss: binary cross entropy on random labels, because the output ends with sigmoid", 2, math.log(2)),
    ),
    "features": (
        nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5)),
        ("mse", "loss: mean squared error to random values of shape 32x5", None, None),
    ),
    "one value": (nn.Linear(6, 1), ("mse", "loss: mean squared error to random values of shape 32x1", None, None)),
    "autoencoder": (
        nn.Sequential(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 6)),
        ("mse", "loss: mean squared error to the input, because the output has the input's shape", None, None),
    ),
    "complex": (Returns(lambda h: torch.complex(h, h)), ("mse", "loss: mean squared error to random values of shape 32x12", None, None)),
}


@pytest.mark.parametrize("case", list(ENDS))
def test_the_loss_fits_how_the_model_ends(probe, case):
    model, expected = ENDS[case]
    found = chosen(probe(model, (2, 6)))
    assert found[:3] == expected[:3]
    assert found[3] == (None if expected[3] is None else pytest.approx(expected[3]))


def test_the_initial_loss_of_outputs_that_are_all_alike_is_log_k(probe):
    for model in (Returns(lambda h: 0 * h), Returns(lambda h: (0 * h).softmax(1)), Returns(lambda h: (0 * h).log_softmax(1))):
        facts = probe(model, (2, 6), context=RunContext(task="classification")).facts
        assert facts["initial_loss"] == pytest.approx(facts["expected_initial_loss"]) == pytest.approx(math.log(12))


class Tokens(nn.Module):
    def __init__(self, vocabulary=50) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(8, vocabulary)

    def forward(self, ids):
        return self.head(self.embedding(ids))


def test_outputs_over_a_vocabulary_predict_the_next_token(probe):
    from normadvisor.targets.inputs import Inputs

    ids = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))
    found = chosen(probe(Tokens(), inputs=Inputs((ids,))))
    assert found[:3] == ("cross_entropy", "loss: cross entropy of the next of the input's tokens among 50", 50)


class Cosines(nn.Module):
    """Scores that no linear layer gives: scaled cosines of features and of a vector for each class."""

    def __init__(self, classes=7, width=7):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, 6))

    def forward(self, x):
        return 9 * F.linear(F.normalize(x), F.normalize(self.weight))


@pytest.mark.parametrize(("width", "loss", "classes"), [(7, "cross_entropy", 7), (8, "mse", None)])
def test_a_number_of_classes_that_the_model_names_counts_for_outputs_of_that_width(probe, width, loss, classes):
    found = chosen(probe(Cosines(width=width), (2, 6)))
    assert (found[0], found[2]) == (loss, classes)


def test_a_number_of_classes_may_be_an_attribute_of_a_part(probe):
    model = nn.Sequential(Cosines(width=8))
    model[0].num_classes = 8
    assert chosen(probe(model, (2, 6)))[:3] == ("cross_entropy", "loss: cross entropy on 8 random classes", 8)


def test_maps_of_classes_are_segmented(probe):
    found = chosen(probe(nn.Conv2d(3, 4, 1), (2, 3, 16, 16)))
    assert found[:3] == ("cross_entropy", "loss: cross entropy on 4 random classes, drawn as maps", 4)


def test_every_head_is_in_the_loss_and_no_hidden_state_is(probe):
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.main, self.aux, self.boxes = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(8, 5), nn.Linear(8, 4)

        def forward(self, x):
            hidden = self.body(x).relu()
            return {"hidden": hidden, "logits": self.main(hidden), "aux": self.aux(hidden), "boxes": self.boxes(hidden).sigmoid()}

    measured = probe(Heads(), (2, 6))
    name, words, classes, _ = chosen(measured)
    assert (name, words, classes) == (
        "cross_entropy",
        "loss: cross entropy on 5 random classes; 2 more outputs are in it with less weight",
        5,
    )
    assert measured.missing["expected_initial_loss"] == "other outputs are in the loss, too"
    assert {layer.name: layer.facts["no_gradient"] for layer in measured.layers} == dict.fromkeys(("body", "main", "aux", "boxes"), False)


def test_one_head_beside_the_main_one_is_one_output(probe):
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.aux = nn.Linear(6, 5), nn.Linear(6, 5)

        def forward(self, x):
            return {"logits": self.main(x), "aux": self.aux(x)}

    words = chosen(probe(Heads(), (2, 6)))[1]
    assert words == "loss: cross entropy on 5 random classes; 1 more output is in it with less weight"


@dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


def test_the_model_s_own_loss_comes_first(probe):
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 5)

        def forward(self, x, labels=None):
            logits = self.head(x)
            return Output(logits, None if labels is None else F.cross_entropy(logits, labels))

    batches = [{"x": torch.randn(8, 6), "labels": torch.randint(0, 5, (8,))} for _ in range(2)]
    measured = probe(Own(), batches=batches)
    assert chosen(measured) == ("output.loss", "loss: the loss that the model returns", 5, pytest.approx(math.log(5)))
    torch.manual_seed(0)
    assert measured.facts["initial_loss"] > 0


def test_losses_of_a_detector_are_added(probe):
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 1)

        def forward(self, x):
            return {"boxes": self.head(x).square().mean(), "classes": self.head(x).abs().mean()} if self.training else self.head(x)

    model = Detector()
    batch = torch.randn(4, 6)
    measured = probe(model, batches=[batch])
    assert chosen(measured)[:2] == ("losses", "loss: the sum of the losses that the model returns in train mode (boxes, classes)")
    assert measured.facts["initial_loss"] == pytest.approx(float(sum(model(batch).values()).detach()))


@pytest.mark.parametrize(
    ("target", "model", "expected"),
    [
        (torch.randint(0, 5, (8,)), nn.Linear(6, 5), ("cross_entropy", 5)),
        (torch.randint(0, 5, (8, 1)), nn.Linear(6, 5), ("cross_entropy", 5)),
        (torch.randn(8, 5), nn.Linear(6, 5), ("mse", None)),
        (torch.randn(8), nn.Linear(6, 1), ("mse", None)),
        (torch.ones(8, 1), nn.Linear(6, 1), ("bce_with_logits", 2)),
        (torch.ones(8), nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()), ("bce", 2)),
        (torch.randint(0, 5, (8,)), nn.Sequential(nn.Linear(6, 5), nn.LogSoftmax(1)), ("nll", 5)),
        (torch.randint(0, 5, (8,)), nn.Sequential(nn.Linear(6, 5), nn.Softmax(1)), ("nll", 5)),
    ],
)
def test_targets_of_the_data_decide(probe, target, model, expected):
    measured = probe(model, batches=[(torch.randn(8, 6), target)])
    assert (measured.setup["loss"], measured.facts.get("classes")) == expected


def test_targets_that_fit_no_loss_are_refused(probe):
    with pytest.raises(ProbeError) as caught:
        probe(nn.Linear(6, 5), batches=[(torch.randn(8, 6), torch.randn(8, 7))])
    assert str(caught.value) == (
        "no loss fits the output of Linear (8x5) and the data's target (8x7) (give it: --loss cross_entropy, or --loss module:function)"
    )


X, Y = torch.randn(8, 6), torch.randint(0, 5, (8,))


def batch_of_both(output, batch):
    return F.cross_entropy(output, batch[1])


def target_alone(output, y):
    return F.cross_entropy(output, y)


def output_alone(output):
    return output.square().mean()


def model_and_batch(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def with_metrics(output, target):
    return F.cross_entropy(output, target), {"accuracy": 1.0}


def named(output, target):
    return {"loss": F.cross_entropy(output, target), "accuracy": torch.tensor(1.0)}


@pytest.mark.parametrize(
    ("loss_fn", "words"),
    [
        (batch_of_both, "loss: batch_of_both(output, batch), given"),
        (target_alone, "loss: target_alone(output, target), given"),
        (model_and_batch, "loss: model_and_batch(model, batch), given"),
        (with_metrics, "loss: with_metrics(output, target), given"),
        (named, "loss: named(output, target), given"),
        (nn.CrossEntropyLoss(), "loss: CrossEntropyLoss(output, target), given"),
        (F.cross_entropy, "loss: cross_entropy(output, target), given"),
    ],
)
def test_a_given_loss_is_called_as_its_signature_asks(probe, loss_fn, words):
    torch.manual_seed(0)
    model = nn.Linear(6, 5)
    measured = probe(model, batches=[(X, Y)], loss_fn=loss_fn)
    assert words in measured.notes
    assert measured.facts["initial_loss"] == pytest.approx(float(F.cross_entropy(model(X), Y).detach()))


@pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(), F.cross_entropy, target_alone, batch_of_both])
def test_classes_are_known_where_a_given_loss_is_cross_entropy(probe, loss_fn):
    facts = probe(nn.Linear(6, 5), batches=[(X, Y)], loss_fn=loss_fn).facts
    assert (facts["classes"], facts["expected_initial_loss"]) == (5, pytest.approx(math.log(5)))


def test_classes_are_not_claimed_of_other_losses(probe):
    measured = probe(nn.Linear(6, 5), batches=[(X, Y)], loss_fn=lambda output, target: 2 * F.cross_entropy(output, target))
    assert "classes" not in measured.facts
    assert measured.missing["expected_initial_loss"] == "the loss does not tell how many classes there are"


def test_a_loss_that_is_no_number_is_refused(probe):
    with pytest.raises(ProbeError) as caught:
        probe(nn.Linear(6, 5), batches=[(X, Y)], loss_fn=nn.CrossEntropyLoss(reduction="none"))
    assert str(caught.value) == "the loss CrossEntropyLoss gave a tensor of shape 8 instead of one number (average it over the batch)"


def test_a_loss_that_fails_is_told_with_its_line(probe):
    def wrong(output, target):
        return F.cross_entropy(output, target[:3])

    with pytest.raises(ProbeError) as caught:
        probe(nn.Linear(6, 5), batches=[(X, Y)], loss_fn=wrong)
    assert caught.value.message.startswith(
        "the loss wrong failed: ValueError: Expected input batch_size (8) to match target batch_size (3)"
    )
    assert caught.value.location.path == __file__


@pytest.mark.parametrize("name", ["cross_entropy", "nll", "bce_with_logits", "mse", "l1", "huber"])
def test_losses_by_name_on_drawn_targets(probe, name):
    measured = probe(nn.Linear(6, 5), (2, 6), options={"loss": name})
    assert measured.setup["loss"] == name
    assert measured.facts["differentiable"] is True


@pytest.mark.parametrize("given", [{"loss_fn": F.cross_entropy}, {}])
def test_classes_beyond_the_output_are_told(probe, given):
    with pytest.raises(ProbeError) as caught:
        probe(nn.Linear(6, 3), batches=[(X, torch.full((8,), 99))], **given)
    words = (
        "the loss cross_entropy failed: IndexError: Target 99 is out of bounds; the batch holds the class 99, and the output has 3 classes"
    )
    assert caught.value.message == words


def test_an_error_of_the_loss_function_is_told_once(probe):
    def broken(output, target):
        raise KeyError("labels")

    with pytest.raises(ProbeError) as caught:
        probe(nn.Linear(6, 3), batches=[(X, Y)], loss_fn=broken)
    assert (caught.value.message, caught.value.hint) == (
        "the loss broken failed: KeyError: 'labels'", "it is called as broken(output, target)",
    )  # fmt: skip


def test_losses_by_name_on_the_targets_of_the_data(probe):
    torch.manual_seed(0)
    model, target = nn.Linear(6, 1), torch.randn(8)
    measured = probe(model, batches=[(X, target)], options={"loss": "l1"})
    assert measured.facts["initial_loss"] == pytest.approx(float((model(X).squeeze(1) - target).abs().mean().detach()))


def test_a_name_that_is_no_loss_is_refused(probe):
    with pytest.raises(UsageError) as caught:
        probe(nn.Linear(6, 5), (2, 6), options={"loss": "hinge"})
    assert caught.value.message == "unknown loss 'hinge'"


def test_binary_cross_entropy_wants_probabilities(probe):
    with pytest.raises(UsageError) as caught:
        probe(nn.Linear(6, 5), (2, 6), options={"loss": "bce"})
    assert caught.value.message == "the loss bce needs outputs between 0 and 1, and the model's leave that range"


def test_the_context_names_a_loss(probe):
    assert probe(nn.Linear(6, 5), (2, 6), context=RunContext(loss="mse")).setup["loss"] == "mse"


class Gives(nn.Module):
    """Gives what a function makes of its features, its head's output and its input."""

    def __init__(self, make):
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 6)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.make = make

    def forward(self, x):
        features = torch.tanh(self.body(x))
        return self.make(self, features, self.head(features), x)


def with_parts(_model, features, output, x):
    parts = features.square().mean(), F.mse_loss(output, x)
    return *parts, sum(parts)


NUMBER = "the number that the model returns, taken for its loss"
ERROR = "mean squared error to the input, because the output has the input's shape"


@pytest.mark.parametrize(
    ("make", "words", "own"),
    [
        (lambda _m, _f, y, x: F.mse_loss(y, x), NUMBER, lambda x, _f, y: F.mse_loss(y, x)),
        (lambda _m, _f, y, x: (y, F.mse_loss(y, x)), NUMBER, lambda x, _f, y: F.mse_loss(y, x)),
        (with_parts, NUMBER, lambda x, f, y: f.square().mean() + F.mse_loss(y, x)),
        (
            lambda _m, f, _y, _x: (f.square().mean(), f.abs().mean()),
            "the sum of the 2 numbers that the model returns, taken for its loss",
            lambda _x, f, _y: f.square().mean() + f.abs().mean(),
        ),
        # What is computed of inner values alone stands beside the loss of the output.
        (lambda m, _f, y, x: (y, m.body(x).square().mean()), f"{ERROR}; what the model returns as one number is added as it is", None),
        # A temperature is no loss.
        (lambda m, _f, y, _x: (y, m.scale.exp()), ERROR, lambda x, _f, y: F.mse_loss(y, x)),
        (lambda m, _f, y, _x: (m.scale.exp(), y), ERROR, lambda x, _f, y: F.mse_loss(y, x)),
    ],
)
def test_numbers_that_a_model_returns_are_losses(probe, make, words, own):  # fmt: skip
    torch.manual_seed(0)
    model = Gives(make)
    seen = []
    model.body.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    measured = probe(model, (2, 6), options={"steps": 1})
    assert f"loss: {words}" in measured.notes
    if own is not None:
        features = torch.tanh(model.body(x := next(held for held in seen if len(held) == 32)))
        assert measured.facts["initial_loss"] == pytest.approx(float(own(x, features, model.head(features)).detach()), rel=1e-5)


def test_a_larger_image_of_the_same_channels_is_compared_with_the_input(probe):
    model = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    notes = probe(model, (2, 3, 16, 16), options={"steps": 1}).notes
    assert "loss: mean squared error to the enlarged input, because the output has its channels and more pixels" in notes
