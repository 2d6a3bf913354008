import torch
from torch import nn

from normadvisor.optimization.candidate import Kernel
from normadvisor.optimization.measuring.running import kernel_runs, model_run
from normadvisor.optimization.prepared import Given


def test_inference_runs_without_gradients():
    seen = []
    model = nn.Linear(2, 2)
    model.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    result = model_run(model, Given((torch.ones(1, 2),)), "inference")()
    assert (seen, result.requires_grad) == ([False], False)


def test_training_gives_each_pass_new_gradients():
    model = nn.Linear(2, 2)
    run = model_run(model, Given((torch.ones(1, 2),)), "training")
    run()
    first = model.weight.grad.clone()
    run()
    assert torch.equal(model.weight.grad, first)


def test_training_goes_on_where_an_output_is_no_tensor():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x, scale=1.0):
            return {"out": self.layer(x) * scale, "mask": x > 0, "name": "two"}

    model = Two()
    model_run(model, Given((torch.ones(1, 2),), {"scale": 2.0}), "training")()
    assert model.layer.weight.grad is not None


def test_a_kernel_in_training_gives_gradients_to_arguments_and_parameters():
    weight = nn.Parameter(torch.ones(3))
    argument, index = torch.ones(3), torch.tensor([0, 1, 2])

    def product(x, positions):
        return x[positions] * weight

    kernel = Kernel(before=product, after=product, arguments=(argument, index), parameters=(weight,))
    before, after = kernel_runs(kernel, "training")
    before()
    first = weight.grad.clone()
    weight.grad = None
    after()
    assert (weight.grad is not None, first.shape, argument.requires_grad) == (True, torch.Size([3]), False)


def test_a_kernel_that_works_in_place_runs_in_training_as_well():
    kernel = Kernel(before=lambda x: x.relu_(), after=torch.relu, arguments=(torch.randn(4),))
    before, after = kernel_runs(kernel, "training")
    assert before().shape == after().shape == (4,)


def test_a_kernel_in_inference_has_no_gradients():
    weight = nn.Parameter(torch.ones(3))
    kernel = Kernel(before=lambda x: x * weight, after=lambda x: x * weight, arguments=(torch.ones(3),))
    assert [run().requires_grad for run in kernel_runs(kernel, "inference")] == [False, False]
