"""Weights and gradients that all ranks have in common."""

import pytest

MODEL = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(3, 2)
        self.short = nn.Parameter(torch.randn(4).half())
        self.complex = nn.Parameter(torch.randn(2, dtype=torch.complex64))
        self.rows = nn.Embedding(5, 2, sparse=True)
        self.idle = nn.Parameter(torch.randn(2))
        self.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
        self.tied = self.dense.weight
        self.register_buffer("count", torch.tensor(rank + 3))
        self.register_buffer("hidden", torch.rand(3), persistent=False)
        self.large = nn.Parameter(torch.randn(3 * 2**20))
"""


def test_weights_become_those_of_rank_0(on_ranks):
    found = on_ranks.results(MODEL + """
with join(environment, run="x") as ranks:
    model = Model()
    storages = [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    ranks.same_weights(model)
    result = [
        [tensor.double().abs().sum().item() if not tensor.is_complex() else tensor.abs().sum().item() for tensor in (*model.parameters(), *model.buffers())],
        storages == [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())],
    ]
""")  # fmt: skip
    assert found[0] == found[1]
    assert found[0][1]


def test_gradients_become_their_mean(on_ranks):
    found = on_ranks.results(MODEL + """
with join(environment, run="x") as ranks:
    model = Model()
    ranks.same_weights(model)
    one = lambda tensor, factor: torch.full_like(tensor, factor)
    if rank == 0:
        model.idle.grad = None
        model.dense.weight.grad = one(model.dense.weight, 1.0)
    else:
        model.dense.weight.grad = one(model.dense.weight, 4.0)
    if rank == 1:
        model.dense.bias.grad = one(model.dense.bias, 6.0)
    model.short.grad = one(model.short, 60000.0)  # their sum is beyond half precision
    model.complex.grad = one(model.complex, 3j * rank)
    rows = [[1, 1], [4], []][rank]
    if rows:
        model.rows(torch.tensor(rows)).sum().backward()
    model.large.grad = one(model.large, float(rank))
    ranks.average_gradients(model)
    result = [
        model.dense.weight.grad.tolist(), model.dense.bias.grad.tolist(), model.short.grad.tolist(), torch.view_as_real(model.complex.grad).tolist(),
        model.rows.weight.grad.to_dense().tolist(), model.rows.weight.grad.is_sparse, model.idle.grad, model.frozen.grad, model.large.grad.unique().tolist(),
    ]
""", ranks=3)  # fmt: skip
    third = pytest.approx(1 / 3)
    two = pytest.approx(2 / 3)
    expected = [
        [[3.0] * 3] * 2, [2.0] * 2, [60000.0] * 4, [[0.0, 3.0]] * 2,
        [[0, 0], [two, two], [0, 0], [0, 0], [third, third]], True, None, None, [1.0],
    ]  # fmt: skip
    assert found == [expected] * 3


def test_another_model_is_named(on_ranks):
    found = on_ranks("""
        with join(environment, run="x") as ranks:
            ranks.same_weights(nn.Linear(3, 2 + (rank == 2)))
    """, ranks=3)  # fmt: skip
    words = "rank 2 has another model than rank 0: 'weight float32 [3, 3]' in place of 'weight float32 [2, 3]'"
    assert [rank.error for rank in found] == [("RankError", words)] * 3
