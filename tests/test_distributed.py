"""Two gloo ranks with different data against one process with all of it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from ranks import DIM, METHODS, NORMS, SIZE, UNEQUAL
from torch import Tensor, nn

from infossl import distributed
from infossl.distributed import World, initialised, rank_device, synchronised, world
from infossl.distributed.start import _of_a_peer
from infossl.objectives import OBJECTIVES, VICReg

SCRIPT = Path(ranks.__file__)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-6}
Found = tuple[dict[Any, Any], dict[Any, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What both ranks found, from one job for all tests."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = [_python(str(SCRIPT), str(folder), str(rank)) for rank in range(SIZE)]
    outputs = [_finish(process, 240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    first, second = (torch.load(folder / f"rank{rank}.pt") for rank in range(SIZE))
    first["file"] = (folder / "rows.txt").read_text()
    return first, second


def _python(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(process: subprocess.Popen[str], timeout: float) -> str:
    try:
        return process.communicate(timeout=timeout)[0]
    finally:
        process.kill()


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Relative to the largest entry: entries that are 0 by symmetry have no relative error."""
    scale = max(float(expected.abs().max()), 1e-30)
    assert actual.shape == expected.shape
    assert float((actual - expected).abs().max()) <= tolerance * scale


def cosine_and_ratio(actual: Tensor, expected: Tensor) -> tuple[float, float]:
    a, b = actual.double().flatten(), expected.double().flatten()
    return float(a @ b / (a.norm() * b.norm())), float(a.norm() / b.norm())


# -- objectives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_value_and_gradient_of_every_objective_are_those_of_one_process(found: Found, name, dtype) -> None:
    expected, tolerance = ranks.objective_case(name, dtype, ranks.contiguous), TOLERANCE[dtype]
    for rank in found:
        actual = rank["objective", name, dtype]
        close(actual["total"], expected["total"], tolerance)
        assert actual["terms"].keys() == expected["terms"].keys()
        for term, value in expected["terms"].items():
            close(actual["terms"][term], value, tolerance)
        close(actual["weight"], expected["weight"], tolerance)
        cosine, ratio = cosine_and_ratio(actual["weight"], expected["weight"])
        assert abs(cosine - 1) <= tolerance
        assert abs(ratio - 1) <= tolerance
    # Averaged later: until then each rank carries W times its rows of the gradient.
    rows = torch.cat([rank["objective", name, dtype]["z1"] for rank in found]) / SIZE
    close(rows, expected["z1"], tolerance)


def test_a_gather_without_gradients_is_found_out_by_its_scale(found: Found) -> None:
    expected, actual = (
        ranks.objective_case("VICReg", torch.float64),
        found[0]["guard", "without_gradients"],
    )
    close(actual["total"], expected["total"], 1e-12)  # the value tells nothing
    cosine, ratio = cosine_and_ratio(actual["weight"], expected["weight"])
    assert cosine == pytest.approx(1, abs=1e-10)  # nor does the direction
    assert ratio == pytest.approx(1 / SIZE, abs=1e-10)


def test_local_statistics_are_found_out_by_value_and_direction(found: Found) -> None:
    expected, actual = ranks.objective_case("VICReg", torch.float64), found[0]["guard", "local"]
    assert abs(float(actual["total"] / expected["total"]) - 1) > 0.01
    assert cosine_and_ratio(actual["weight"], expected["weight"])[0] < 0.999


# -- batch normalisation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", NORMS)
def test_batch_normalisation_is_that_of_the_global_batch(found: Found, name, dtype) -> None:
    expected, tolerance = ranks.norm_case(name, dtype), TOLERANCE[dtype]
    one, two = (rank["norm", name, dtype] for rank in found)
    assert len(one["y"]) == UNEQUAL != len(two["y"])
    for part in ("y", "x") if expected["eval"] is None else ("y", "x", "eval"):
        close(torch.cat([one[part], two[part]]), expected[part], 2 * tolerance)
    for actual in (one, two):
        assert actual["state"].keys() == expected["state"].keys()
        for key, value in expected["state"].items():
            close(actual["state"][key], value, tolerance)
        for gradient, reference in zip(actual["gradients"], expected["gradients"], strict=True):
            # Here the losses of the ranks are parts of a sum, and gradients are averaged.
            close(SIZE * gradient, reference, 2 * tolerance)


def test_synchronising_keeps_parameters_names_hooks_and_refuses_what_it_does_not_know(monkeypatch) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    keys, weight = list(model.state_dict()), model[1].weight
    assert synchronised(model) is model
    assert type(model[1]) is nn.BatchNorm1d  # one process: nothing to do
    monkeypatch.setattr("infossl.distributed.batch_norm.world", lambda: World(0, 2))
    called = []
    model[1].register_forward_hook(lambda *_: called.append(1))
    synchronised(model).eval()(torch.ones(3, 2))
    assert isinstance(model[1], distributed.SyncBatchNorm)
    assert list(model.state_dict()) == keys
    assert model[1].weight is weight
    assert called == [1]
    with pytest.raises(ValueError, match="expected \\(N, 2"):
        model.train()[1](torch.ones(3, 5))
    with pytest.raises(ValueError, match="at least one row"):
        model[1](torch.ones(0, 2))

    class Fused(nn.BatchNorm2d):
        pass

    with pytest.raises(TypeError, match="0 is a Fused"):
        synchronised(nn.Sequential(Fused(2)))


# -- methods --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_training_a_method_on_two_ranks_is_training_it_on_one(found: Found, name) -> None:
    expected = ranks.method_case(name)
    for rank in found:
        actual = rank["method", name]
        close(actual["losses"], expected["losses"], 1e-9)
        assert actual["state"].keys() == expected["state"].keys()
        for key, value in expected["state"].items():
            # AdamW divides by the root of squares: rounding of gradients that are 0 is seen beside its eps.
            torch.testing.assert_close(actual["state"][key], value, rtol=0, atol=1e-9, msg=key)


def test_sharded_training_is_that_of_one_process(found: Found) -> None:
    expected = ranks.sharded_case(shard=False)
    for rank in found:
        actual = rank["sharded"]
        assert actual["sharded"]
        close(actual["loss"], expected["loss"], 1e-12)
        for part in ("gradients", "state"):
            assert actual[part].keys() == expected[part].keys()
            for key, value in expected[part].items():
                # The bias before a batch variance has the gradient 0.
                torch.testing.assert_close(actual[part][key], value, rtol=1e-10, atol=1e-13, msg=key)
        assert actual["refused"].startswith("TypeError: the parameters are sharded")


# -- messages -------------------------------------------------------------------------------------------------


def test_rows_come_in_the_order_of_ranks(found: Found) -> None:
    one, two = (rank["messages"] for rank in found)
    assert (one["world"], two["world"]) == ((0, 2, True), (1, 2, False))
    assert one["order"].tolist() == two["order"].tolist() == [0, 1, 2, 10, 11, 12]
    assert one["bool"].tolist() == [True, False]
    assert torch.cat([one["share"], two["share"]]).tolist() == list(range(6))


def test_ranks_that_differ_in_shape_or_type_all_raise(found: Found) -> None:
    for rank in found:
        messages = rank["messages"]
        assert (
            messages["unequal rows"]
            == "ValueError: z has shape and type (2, 3) torch.float32 on rank 0, (3, 3) torch.float32 on rank 1: "
            "they must be equal; deal a global batch with share(batch)"
        )
        assert "torch.float32 on rank 0, (2,) torch.int64 on rank 1" in messages["unequal types"]
        assert "at least one row" in messages["no rows"]
        assert "a batch_size that 2 divides" in messages["odd share"]
        assert "(0, 0) on rank 0, (1, 2) on rank 1" in messages["unequal gradients"]


def test_the_mean_has_the_gradient_of_a_mean(found: Found) -> None:
    for rank in found:
        mean, gradient = rank["messages"]["mean"]
        assert mean.item() == 1.5
        assert gradient.item() == (1 + 2) / 2


def test_memory_layouts_that_differ_between_ranks_mix_nothing_up(found: Found) -> None:
    x, coefficients = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
    for rank, own in zip(found, coefficients.chunk(2), strict=True):
        layouts = rank["messages"]["layouts"]
        torch.testing.assert_close(layouts["rows"], torch.cat([x, x]), rtol=0, atol=0)
        torch.testing.assert_close(layouts["gradient"], SIZE * own, rtol=0, atol=0)
        torch.testing.assert_close(layouts["mean"], x, rtol=0, atol=0)


def test_batch_statistics_of_half_precision_are_in_float32(found: Found) -> None:
    assert all(rank["messages"]["autocast"] for rank in found)


def test_gradients_in_half_precision_keep_their_type(found: Found) -> None:
    for rank in found:
        assert rank["messages"]["half"].dtype == torch.bfloat16
        assert rank["messages"]["half"].tolist() == [[3.0], [3.0]]


def test_objects_and_errors_of_one_rank_reach_all(found: Found) -> None:
    one, two = (rank["messages"] for rank in found)
    assert one["object"] == two["object"] == {"from": 1}
    assert one["rank zero"] == (7, [0])
    assert two["rank zero"] == (7, [])
    assert one["rank zero raises"] == "IndexError: list index out of range"
    assert two["rank zero raises"] == "RuntimeError: rank 0 raised IndexError: list index out of range"


def test_monitors_measure_on_every_rank_and_write_once(found: Found) -> None:
    assert [rank["messages"]["rows written"] for rank in found] == [3, 0]
    assert len(found[0]["file"].splitlines()) == 3


def test_a_rank_that_does_not_come_is_not_waited_for(found: Found) -> None:
    assert found[0]["late"].startswith(
        "TimeoutError: rank 0 of 2 waited 0.5 s at 'the meeting' and another rank did not"
    )
    assert found[0]["waited"] < 1.4


# -- starting and ending --------------------------------------------------------------------------------------


def _torchrun(folder: Path, mode: str) -> tuple[int, str]:
    process = _python(
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(SIZE)),
        *(str(SCRIPT), str(folder), "torchrun", mode),
    )
    output = _finish(
        process, 120
    )  # far longer than it takes, and shorter than the job's own timeout of 600 s
    return process.returncode, output


def test_a_rank_that_raises_ends_the_job_with_its_error(tmp_path: Path) -> None:
    code, output = _torchrun(tmp_path, "raises")
    assert code == 1, output
    assert "ValueError: rank one met an image that it cannot read" in output
    # Both had come to work together before.
    assert (tmp_path / "raises0.txt").read_text() == "World(rank=0, size=2) 0.5"
    # torchrun's own summary names the cause and its rank.
    summary = output[output.index("Root Cause") :]
    assert "rank      : 1" in summary
    assert "rank one met an image" in summary
    assert "another rank did not come" not in output  # rank 0 was still waiting for its end


def test_the_loss_of_a_peer_is_told_from_an_error_of_ones_own() -> None:
    lost = RuntimeError(
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"
    )
    late = TimeoutError("rank 0 of 2 waited")
    late.__cause__ = lost
    assert _of_a_peer(lost)
    assert _of_a_peer(late)
    assert _of_a_peer(torch.distributed.DistBackendError("NCCL"))
    assert not _of_a_peer(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_without_torchrun_there_is_one_process_and_every_function_its_identity(monkeypatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with initialised() as here:
        assert here == world() == World(0, 1)
        assert here.main
    x = torch.ones(3, 2)
    objective = VICReg()
    assert distributed.gather(x) is distributed.reduce_mean(x) is x
    assert distributed.gathered(objective) is distributed.averaged(objective) is objective
    assert distributed.on_rank_zero(lambda: 3) == distributed.broadcast_object(3) == 3
    model = nn.Linear(2, 1)
    model.weight.grad = torch.ones(1, 2)
    distributed.average_gradients(model)
    distributed.broadcast_weights(model)
    distributed.barrier()
    assert model.weight.grad.tolist() == [[1, 1]]
    with pytest.raises(TypeError, match="floating point"):
        distributed.reduce_mean(torch.ones(2, dtype=torch.int64))


def test_an_environment_that_does_not_fit_is_refused(monkeypatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="give both, or start with torchrun"), initialised(size=2):
        pass
    with pytest.raises(ValueError, match=r"rank = 2 must be in \[0, 2\)"), initialised(rank=2, size=2):
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ValueError, match="WORLD_SIZE = 'two'"), initialised(rank=0):
        pass
    with pytest.raises(ValueError, match="follows from LOCAL_RANK"):
        rank_device("cuda:1")


def test_each_rank_has_the_gpu_of_its_number(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert rank_device() == torch.device("cuda", 1)
    assert rank_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="this machine has 2 CUDA devices"):
        rank_device()


def test_the_cases_tell_ranks_and_objectives_apart() -> None:
    """The comparison can fail: data of the ranks differ in law, and no objective is flat there."""
    assert DIM < ranks.ROWS // SIZE
    for name in OBJECTIVES:
        case = ranks.objective_case(name, torch.float64)
        assert math.isfinite(float(case["total"]))
        assert float(case["weight"].norm()) > 1e-4
