from types import SimpleNamespace

import pytest
import torch
from torch import nn

from normadvisor.graph.written.products import product_at, swaps_last
from normadvisor.optimization.forward import local_graphs

GENERATOR = torch.Generator().manual_seed(0)


def nodes_of(forward, *args):
    class Model(nn.Module):
        def forward(self, *given):
            return forward(*given)

    local = next(iter(local_graphs(Model(), SimpleNamespace(args=args, kwargs={}))))
    return list(local.graph.nodes)


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
        ("bhij,bhjd->bhid", (2, 3, 4, 6), (2, 3, 6, 5)),
        ("bqhd,bkhd->bhqk", (2, 4, 3, 5), (2, 6, 3, 5)),
        ("bhqk,bkhd->bqhd", (2, 3, 4, 6), (2, 6, 3, 5)),
        ("b h d i, b h d j -> b h i j", (2, 3, 5, 4), (2, 3, 5, 6)),
        ("nij,njk->nik", (2, 4, 6), (2, 6, 5)),
    ],
)
def test_an_einsum_is_a_product_of_permuted_operands(equation, left, right):
    x, y = torch.randn(left, generator=GENERATOR), torch.randn(right, generator=GENERATOR)
    *_, node, _ = nodes_of(lambda x, y: torch.einsum(equation, x, y), x, y)
    product = product_at(node)
    operands = [tensor if axes is None else tensor.permute(axes) for tensor, axes in ((x, product.left_axes), (y, product.right_axes))]
    result = operands[0] @ operands[1]
    result = result if product.out_axes is None else result.permute(product.out_axes)
    torch.testing.assert_close(result, torch.einsum(equation, x, y))
    swapped = y if product.swapped_axes is None else y.permute(product.swapped_axes)
    assert torch.equal(swapped, operands[1].transpose(-2, -1))
    assert (str(product.left), str(product.right)) == ("given_0", "given_1")


@pytest.mark.parametrize("equation", ["bhid,bhjd->bij", "bhid,bhid->bhi", "bii,bij->bij", "abi,cij->abcj"])
def test_other_einsums_are_none(equation):
    first, second = equation.partition("->")[0].split(",")
    sizes = dict(zip("abchijd", (2, 3, 2, 3, 4, 4, 5), strict=True))
    args = [torch.randn([sizes[label] for label in labels]) for labels in (first, second)]
    *_, node, _ = nodes_of(lambda x, y: torch.einsum(equation, x, y), *args)
    assert product_at(node) is None


def test_products_of_matrices_are_found_and_those_of_vectors_are_not():
    x, y = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    products = [product_at(nodes_of(each, x, y)[2]) for each in (lambda x, y: x @ y, torch.bmm, lambda x, y: x.matmul(y))]
    assert [(str(product.left), str(product.right), product.swapped_axes) for product in products] == [("given_0", "given_1", [0, 2, 1])] * 3
    assert product_at(nodes_of(lambda x, y: x @ y, x, torch.randn(4, 5))[2]) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: x.transpose(-1, -2), True),
        (lambda x: x.transpose(2, 3), True),
        (lambda x: torch.transpose(x, dim0=-2, dim1=3), True),
        (lambda x: x.mT, True),
        (lambda x: x.permute(0, 1, 3, 2), True),
        (lambda x: x.permute((0, 1, -1, -2)), True),
        (lambda x: x.swapaxes(3, 2), True),
        (lambda x: x.transpose(1, 2), False),
        (lambda x: x.permute(0, 2, 3, 1), False),
        (lambda x: x.reshape(2, 3, 5, 4), False),
    ],
)
def test_which_nodes_exchange_the_last_axes(change, expected):
    assert swaps_last(nodes_of(change, torch.randn(2, 3, 4, 5))[1], 4) is expected
