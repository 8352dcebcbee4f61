"""One rank of a two-process job, and the same computations for one process.

As a script, `python ranks.py FOLDER RANK` runs every check of `test_distributed` in one process group that meets in a file of
the folder, and writes what it found to `FOLDER/rank{RANK}.pt`. `python ranks.py FOLDER torchrun MODE` is started by torchrun.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from infossl.distributed import (
    average_gradients,
    barrier,
    broadcast_object,
    broadcast_weights,
    gather,
    gathered,
    initialised,
    on_rank_zero,
    reduce_mean,
    share,
    synchronised,
    world,
)
from infossl.methods import LinearRamp, SelfDistillation, build, ijepa
from infossl.models import VisionTransformer, projector, seeded
from infossl.objectives import DINO, OBJECTIVES, SIGReg, VICReg, unit_directions

SIZE, ROWS, INPUTS, DIM = 2, 24, 8, 6
METHODS = ("VICReg", "BYOL", "SimSiam", "SwAV", "DINO", "SIGReg", "ijepa")
NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "1d": (lambda: nn.BatchNorm1d(3), (14, 3)),
    "sequence": (lambda: nn.BatchNorm1d(3), (14, 3, 5)),
    "2d": (lambda: nn.BatchNorm2d(3), (14, 3, 4, 2)),
    "3d": (lambda: nn.BatchNorm3d(3), (14, 3, 4, 2, 2)),
    "not affine": (lambda: nn.BatchNorm2d(3, affine=False), (14, 3, 4, 2)),
    "cumulative": (lambda: nn.BatchNorm1d(3, momentum=None), (14, 3)),
    "no running": (lambda: nn.BatchNorm1d(3, track_running_stats=False), (14, 3)),
}
UNEQUAL = 5  # rows of rank 0 for batch normalisation, which need not be the same on all ranks


def randn(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# -- objectives -----------------------------------------------------------------------------------------------


def objective_case(name: str, dtype: torch.dtype, wrap: Callable[..., Any] = gathered) -> dict[str, Any]:
    """Value and gradients of an objective of transposed embeddings, whose rows differ in law between the ranks."""
    objective: Any = OBJECTIVES[name]()
    # In steps of 1/8 and 1/16 the embeddings are exact in both types and in any order of summation: what is compared is
    # the exchange, not the rounding of a matrix product of 12 rows and of 24, which whitening amplifies.
    x1 = randn(1, ROWS, INPUTS).mul(8).round() / 8
    x1[ROWS // 2 :] = 3 * x1[ROWS // 2 :] + 1
    x2 = x1 + randn(2, ROWS, INPUTS).mul(8).round() / 8
    layer = nn.Linear(INPUTS, DIM, bias=False, dtype=dtype)
    layer.weight.data.copy_(randn(3, DIM, INPUTS).mul(5).round() / 16)
    z1, z2 = ((layer.weight @ share(x).to(dtype).T).T for x in (x1, x2))
    assert not z1.is_contiguous()
    z1.retain_grad()
    others = {DINO: [randn(4, DIM, dtype=dtype) / 10], SIGReg: [unit_directions(DIM, 16, seed=5).to(dtype)]}
    loss = wrap(objective)(z1, z2, *others.get(type(objective), []))
    loss.total.backward()
    average_gradients(layer)
    terms = {name: term.detach() for name, term in loss.terms.items()}
    return {
        "total": loss.total.detach(),
        "terms": terms,
        "weight": layer.weight.grad,
        "z1": z1.grad,
    }


def without_gradients(objective: Callable[..., Any]) -> Callable[..., Any]:
    """The common mistake: peers are constants, as `all_gather` leaves them, and only the own rows carry gradients."""

    def gather_constants(z: Tensor) -> Tensor:
        pieces = [torch.empty(z.shape, dtype=z.dtype) for _ in range(world().size)]
        dist.all_gather(pieces, z.detach().contiguous())
        pieces[world().rank] = z
        return torch.cat(pieces)

    return lambda a, b: objective(gather_constants(a), gather_constants(b))


def contiguous(objective: Callable[..., Any]) -> Callable[..., Any]:
    """For one process: the layout that gathered rows have, so that matrix products add up in the same order."""
    return lambda a, b, *others: objective(a.contiguous(), b.contiguous(), *others)


def local(objective: Callable[..., Any]) -> Callable[..., Any]:
    """The other common mistake: each rank its own statistics and negatives."""
    return objective


# -- batch normalisation --------------------------------------------------------------------------------------


def norm_case(name: str, dtype: torch.dtype) -> dict[str, Any]:
    """Two training passes and one in evaluation mode, on a permuted input."""
    make, shape = NORMS[name]
    whole = randn(6, *shape)
    whole[UNEQUAL:] = 2 * whole[UNEQUAL:] + 10
    coefficients = randn(7, *shape)
    if world().size > 1:
        mine = slice(None, UNEQUAL) if world().main else slice(UNEQUAL, None)
        whole, coefficients = whole[mine], coefficients[mine]
    norm = make()
    if norm.affine:
        norm.weight.data, norm.bias.data = randn(8, 3), randn(9, 3)
    norm = synchronised(nn.Sequential(norm).to(dtype))
    x = whole.transpose(0, 1).contiguous().transpose(0, 1).to(dtype).requires_grad_()
    norm(x - 3)
    y = norm(x)
    (y * coefficients.to(dtype)).sum().backward()
    average_gradients(norm)
    found = {"y": y.detach(), "x": x.grad, "state": norm.state_dict()}
    found["gradients"] = [p.grad for p in norm.parameters()]
    # Without running statistics, evaluation takes those of the rows at hand, here as there.
    found["eval"] = norm.eval()(x).detach() if norm[0].track_running_stats else None
    return found


# -- methods --------------------------------------------------------------------------------------------------


def method_case(name: str, steps: int = 4) -> dict[str, Any]:
    """Training steps of a method with all it has: batch normalisation, targets, centre, prototypes, masks."""
    if name == "ijepa":
        method: nn.Module = ijepa(
            12, width=16, depth=2, heads=2, predictor_width=8, predictor_depth=1, seed=1
        )
        side = 12
    else:
        settings: dict[str, Any] = {"SwAV": {"freeze": 2}, "SIGReg": {"directions": 8}}.get(name, {})
        objective: Any = OBJECTIVES[name]()
        sizes: dict[str, Any] = {"channels": (4, 6), "hidden": (8, 5), "predictor_hidden": 4, "prototypes": 7}
        method, side = build(objective, **sizes, seed=1, **settings), 8
    method = synchronised(method.double())
    if not world().main:
        for parameter in method.parameters():
            parameter.data += 1
    broadcast_weights(method)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for step in range(steps):
        x = randn(10 + step, 12, 1, side, side)
        x[6:] = x[6:] * 2 + 1
        v1, v2 = (share(x + randn(20 + 2 * step + view, *x.shape) / 4) for view in (0, 1))
        loss = method.training_step(v1, v2).loss
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        average_gradients(method)
        optimizer.step()
        if hasattr(method, "after_step"):
            method.after_step(step + 1, steps)
        losses.append(torch.stack([loss.total.detach(), *(t.detach() for t in loss.terms.values())]))
    return {"losses": torch.stack(losses), "state": method.state_dict()}


# -- fully sharded --------------------------------------------------------------------------------------------


def sharded_case(shard: bool) -> dict[str, Any]:
    """Loss, gradients and one step of a small vision transformer with an objective of the batch and a moving target."""
    with seeded(3):
        encoder = VisionTransformer(8, patch=2, width=16, depth=2, heads=2, in_channels=1)
        heads = projector((16, 8, 4), norm=False), nn.Linear(4, 4)
    method = SelfDistillation(encoder, *heads, VICReg(), momentum=LinearRamp(0.5, 1.0)).double()
    if shard:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        mesh = init_device_mesh("cpu", (SIZE,))
        for block in (*method.encoder.blocks, *method.target_encoder.blocks):
            fully_shard(block, mesh=mesh)
        fully_shard(method, mesh=mesh)
        register_fsdp_forward_method(method, "training_step")
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    x = randn(30, 12, 1, 8, 8)
    x[6:] = x[6:] * 2 + 1
    loss = method.training_step(share(x), share(x + randn(31, *x.shape) / 4)).loss.total
    loss.backward()

    def full(t: Any) -> Tensor:
        return (t.full_tensor() if hasattr(t, "full_tensor") else t).detach().clone()

    gradients = {n: full(p.grad) for n, p in method.named_parameters() if p.requires_grad}
    optimizer.step()
    method.after_step(1, 2)
    refused = _message(lambda: average_gradients(method)) if shard else ""
    return {
        "loss": loss.detach(),
        "gradients": gradients,
        "state": {n: full(p) for n, p in method.named_parameters()},
        "refused": refused,
        "sharded": shard and all(hasattr(p, "full_tensor") for p in method.parameters()),
    }


# -- messages -------------------------------------------------------------------------------------------------


def _message(action: Callable[[], Any]) -> str:
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def message_cases() -> dict[str, Any]:
    rank = world().rank
    found: dict[str, Any] = {"world": (world().rank, world().size, world().main)}
    found["order"] = gather(torch.arange(3) + 10 * rank)
    found["share"] = share(torch.arange(6))
    found["bool"] = gather(torch.tensor([rank == 0]))
    found["odd share"] = _message(lambda: share(torch.arange(5)))
    found["unequal rows"] = _message(lambda: gather(torch.zeros(2 + rank, 3)))
    found["unequal types"] = _message(
        lambda: gather(torch.zeros(2, dtype=(torch.float32, torch.int64)[rank]))
    )
    found["no rows"] = _message(lambda: gather(torch.zeros(0, 3)))
    x = torch.tensor([1.0 + rank], requires_grad=True)
    (reduce_mean(x) * (rank + 1)).sum().backward()
    found["mean"] = (reduce_mean(x.detach()), x.grad)
    found["layouts"] = layouts()
    found["autocast"] = half_precision_norm()
    half = torch.ones(2, 1, dtype=torch.bfloat16, requires_grad=True)
    gather(half).mul(1.0 + rank).sum().backward()
    found["half"] = half.grad
    found["object"] = broadcast_object({"from": rank}, source=1)
    calls: list[int] = []
    found["rank zero"] = (on_rank_zero(lambda: calls.append(rank) or 7), calls)
    found["rank zero raises"] = _message(lambda: on_rank_zero(lambda: [][1]))
    layer = nn.Linear(2, 1)
    if rank:
        layer.weight.grad = torch.ones(1, 2)
    found["unequal gradients"] = _message(lambda: average_gradients(layer))
    found["rows written"] = monitored(Path(sys.argv[1]))
    barrier("end", timeout=10)
    return found


def layouts() -> dict[str, Tensor]:
    """The same numbers in another memory layout on each rank, forwards and backwards."""

    def laid_out(x: Tensor) -> Tensor:
        return x if world().rank else x.T.contiguous().T

    x = torch.arange(6.0).view(2, 3)
    z = laid_out(x).requires_grad_()
    rows = gather(z)
    rows.backward(laid_out(torch.arange(12.0).view(4, 3)))
    return {"rows": rows.detach(), "gradient": z.grad, "mean": reduce_mean(laid_out(x))}


def half_precision_norm() -> bool:
    """Whether statistics of bfloat16 rows are those of the same numbers in float32, rounded once at the end."""
    norm = synchronised(nn.Sequential(nn.BatchNorm1d(3)))
    x = randn(40 + world().rank, 6, 3).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = norm(x)
    return torch.equal(y, norm(x.float()).bfloat16())


def monitored(folder: Path) -> int:
    """Every rank measures a synchronised model at its own pace; rank 0 writes. Nobody waits for anybody."""
    from infossl.undisturbed import undisturbed

    model = synchronised(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    written = 0
    for _ in range(3 + world().rank):  # even another number of measurements is no deadlock
        with undisturbed(model):
            value = float(model(torch.ones(4, 2)).sum())
        if world().main:
            with (folder / "rows.txt").open("a") as file:
                file.write(f"{value}\n")
            written += 1
    return written


def check_all(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"messages": message_cases()}
    for dtype in (torch.float64, torch.float32):
        found |= {("objective", name, dtype): objective_case(name, dtype) for name in OBJECTIVES}
        found |= {("norm", name, dtype): norm_case(name, dtype) for name in NORMS}
    for wrap in (without_gradients, local):
        found["guard", wrap.__name__] = objective_case("VICReg", torch.float64, wrap)
    found |= {("method", name): method_case(name) for name in METHODS}
    start = time.process_time()
    found["sharded"] = sharded_case(shard=True)
    found["sharded seconds"] = time.process_time() - start
    # The last, as the process group is of no use after it.
    start = time.perf_counter()
    found["late"] = _message(lambda: barrier("the meeting", timeout=0.5)) if world().main else time.sleep(1.5)
    found["waited"] = time.perf_counter() - start
    return found


def main(folder: Path, argument: str, mode: str = "") -> None:
    torch.set_num_threads(1)
    if argument != "torchrun":
        with initialised(
            device="cpu", timeout=60, init_method=f"file://{folder}/init", rank=int(argument), size=SIZE
        ):
            torch.save(check_all(folder), folder / f"rank{argument}.pt")
        return
    with initialised(device="cpu") as here:
        total = float(reduce_mean(torch.tensor(float(here.rank))))
        (folder / f"{mode}{here.rank}.txt").write_text(f"{here} {total}")
        if mode == "raises" and here.rank == 1:
            raise ValueError("rank one met an image that it cannot read")
        barrier("after the error")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
