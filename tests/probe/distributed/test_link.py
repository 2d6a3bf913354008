"""Exchanges between ranks."""

import pytest


def test_exchanges(on_ranks):
    found = on_ranks.results("""
        with join(environment, run="x") as ranks:
            link = ranks.link
            result = [
                link.sum(torch.tensor([1.0, rank])).tolist(),
                link.max(torch.tensor([rank, -rank])).tolist(),
                link.broadcast(torch.tensor([rank + 7])).tolist(),
                [part.decode() for part in link.gather(b"" if rank == 1 else b"rank %d" % rank)],
                link.share(b"of rank %d" % rank).decode(),
                [ranks.any(rank == 2), ranks.any(False)],
                [ranks.rank, ranks.world_size, dist.get_backend()],
            ]
        result.append(dist.is_initialized())
    """, ranks=3)  # fmt: skip
    common = [[3.0, 3.0], [2, 0], [7], ["rank 0", "", "rank 2"], "of rank 0", [True, False]]
    assert found == [[*common, [rank, 3, "gloo"], False] for rank in range(3)]


def test_meeting_again_and_where_rank_0_serves(on_ranks):
    code = """
        result = []
        for turn in range(2):
            with join(environment, run=str(turn)) as ranks:
                result.append(ranks.link.sum(torch.tensor([turn + 1])).item())
    """
    assert on_ranks.results(code) == [[2, 4]] * 2
    assert on_ranks.results(code, agent=False) == [[2, 4]] * 2


def test_exception_of_one_rank_ends_all(on_ranks):
    found = on_ranks("""
        def model():
            raise ValueError("no such layer")

        with join(environment, run="x") as ranks:
            if rank == 1:
                model()
            ranks.any(False)
    """, ranks=3)  # fmt: skip
    words = "rank 1: ValueError: no such layer (case.py:11 in model)"
    assert [rank.error for rank in found] == [("RankError", words), ("ValueError", "no such layer"), ("RankError", words)]


@pytest.mark.parametrize("agent", [True, False])
@pytest.mark.parametrize("victim", [0, 1])
def test_rank_that_is_gone(on_ranks, agent, victim):
    found = on_ranks(f"""
        with join(environment, run="x", patience=1000) as ranks:
            ranks.at("step 3")
            ranks.any(False)
            if rank == {victim}:
                os._exit(3)
            ranks.any(False)
    """, agent=agent)  # fmt: skip
    other = found[1 - victim]
    assert found[victim].status == 3
    assert other.error is not None, other.printed
    assert other.error[0] == "RankError"
    assert other.error[1].startswith(f"rank {victim} is gone")  # long before patience ends


def test_segfault(on_ranks):
    found = on_ranks("""
        import ctypes
        with join(environment, run="x", patience=1000) as ranks:
            ranks.any(False)
            if rank == 1:
                ctypes.string_at(0)
            ranks.any(False)
    """)  # fmt: skip
    assert found[1].status == -11
    assert found[0].error[0] == "RankError"
    assert "rank 1" in found[0].error[1]


def test_rank_that_hangs_is_named_with_its_line(on_ranks):
    found = on_ranks("""
        def forward():
            time.sleep(1000)

        def told(trouble):
            print("told:", trouble.text, flush=True)
            os._exit(5)

        with join(environment, run="x", patience=4, arrival=100, on_trouble=told if rank == 1 else None) as ranks:
            ranks.at(f"step {rank + 3}")
            ranks.any(False)
            if rank == 1:
                forward()
            ranks.any(False)
    """, ranks=3)  # fmt: skip
    words = "rank 1 does not go on: it is at step 4, in case.py:11 in forward, while others have waited 4 s at step "
    assert [found[0].error[0], found[2].error[0]] == ["RankError", "RankError"]
    assert found[0].error[1].rstrip("35") == words
    assert found[0].error == found[2].error
    assert found[1].status == 5
    assert found[1].printed.startswith(f"told: {words}")


def test_slow_rank_that_goes_on_is_waited_for(on_ranks):
    assert on_ranks.results("""
        with join(environment, run="x", patience=4, arrival=100) as ranks:
            if rank == 1:
                for step in range(6):
                    ranks.at(f"step {step}")
                    time.sleep(1)
            result = ranks.any(rank == 1)
    """) == [True, True]  # fmt: skip


def test_rank_that_does_not_come(on_ranks):
    found = on_ranks("""
        if rank != 1:
            with join(environment, run="x", patience=3) as ranks:
                pass
    """, ranks=3)  # fmt: skip
    error = ("RankError", "rank 1 has not come to probe within 3 s")
    assert [rank.error for rank in found] == [error, None, error]


def test_stand_in_tells_of_a_crash(on_ranks):
    found = on_ranks("""
        if rank == 1:
            time.sleep(.3)
            announce(environment, "the process crashed: segmentation fault in model.py:12")
        else:
            with join(environment, run="x", patience=1000) as ranks:
                pass
    """)  # fmt: skip
    assert found[0].error == ("RankError", "rank 1: the process crashed: segmentation fault in model.py:12")


def test_nothing_answers(on_ranks):
    found = on_ranks("""
        with join(environment, run="x") as ranks:
            pass
    """, ranks=2, agent=False)  # fmt: skip
    assert [rank.status for rank in found] == [0, 0]
    (alone,) = on_ranks("""
        from dataclasses import replace
        with join(replace(environment, world_size=2), run="x", patience=1) as ranks:
            pass
    """.replace("replace(environment", "replace(RankEnvironment(rank=1, world_size=2, local_rank=1, local_world_size=2, address='127.0.0.1', port=9, agent_store=True)"), ranks=1)  # fmt: skip
    assert alone.error == ("RankError", "rank 1 cannot reach the place where the ranks meet, 127.0.0.1:9, within 1 s (MASTER_ADDR and MASTER_PORT say where; rank 0 or torchrun must serve it)")
