"""What holds for every objective: value and gradient of its formula, symmetries, precision, guards, names."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import reference_objectives as reference
import torch
from reference_objectives import given
from torch import Tensor

from estimators import parse
from infossl.objectives import (
    BYOL,
    CALLS,
    DCL,
    DINO,
    KDE,
    MMCR,
    OBJECTIVES,
    WMSE,
    AlignUniform,
    BarlowTwins,
    FroSSL,
    Invariance,
    LogDet,
    Loss,
    PairDist,
    SIGReg,
    SimCLR,
    SimSiam,
    SpectralContrastive,
    SwAV,
    VICReg,
    accepting,
    check_finite,
    over_pairs,
    require_inputs,
    terms,
)

DEFAULTS = [cls() for cls in OBJECTIVES.values()]
OTHERS = [
    VICReg(10.0, 5.0, 2.0, gamma=0.5, eps=1e-3),
    VICReg(preset="solo"),
    VICReg(preset="vicregl"),
    VICReg(preset="eb_jepa", gamma=2.0),
    SimCLR(temperature=0.5),
    DCL(temperature=1.0),
    AlignUniform(alignment=0.5, uniformity=2.0, t=1.0),
    SpectralContrastive(beta=0.5),
    BarlowTwins(redundancy=0.5, eps=1e-3),
    WMSE(eps=0.1),
    WMSE(size=6),
    FroSSL(invariance=3.0),
    MMCR(local=0.5),
    SwAV(temperature=0.3, eps=0.2, iterations=5),
    DINO(student_temperature=0.3, teacher_temperature=0.2),
    SIGReg(gaussian=0.5, knots=5, reach=2.0),
    LogDet(SimCLR(), beta=3.0, weight=0.5),
    LogDet(BYOL(), weight=2.0),
    LogDet(PairDist()),
    PairDist(variance=1.0, side="upper"),
    PairDist(BYOL(), weight=0.5),
    PairDist(SIGReg()),
    KDE(Invariance(), leave_one_out=False),
    KDE(BYOL(), variance=0.5, weight=0.5),
]
ALL = [*DEFAULTS, *OTHERS]
TWO_SIDED = [o for o in ALL if o.inputs.startswith("two")]

every = pytest.mark.parametrize("objective", ALL, ids=repr)
each_default = pytest.mark.parametrize("objective", DEFAULTS, ids=repr)


def value_and_gradients(f, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The value, and the gradients of the first two inputs; zeros where none flows."""
    z1, z2 = (z.clone().requires_grad_() for z in inputs[:2])
    value = f(z1, z2, *inputs[2:])
    return [value.detach(), *torch.autograd.grad(value, (z1, z2), allow_unused=True, materialize_grads=True)]


# -- the formula ------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("shape", [(6, 4), (12, 3)])
def test_value_and_gradient_equal_the_formula_written_out(objective, shape: tuple[int, int]) -> None:
    inputs = given(objective, *shape, seed=1)
    fast = value_and_gradients(lambda *z: objective(*z).total, inputs)
    slow = value_and_gradients(lambda *z: reference.total(objective, *z), inputs)
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("objective", [o for o in ALL if not isinstance(o, (WMSE, MMCR))], ids=repr)
def test_fewer_rows_than_dimensions(objective) -> None:
    inputs = given(objective, 2, 3, seed=2)
    fast = value_and_gradients(lambda *z: objective(*z).total, inputs)
    slow = value_and_gradients(lambda *z: reference.total(objective, *z), inputs)
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_the_twins_can_disagree() -> None:
    inputs = given(VICReg(), 6, 4)
    assert abs(float(VICReg()(*inputs).total - reference.total(SimCLR(), *inputs))) > 1


@every
def test_the_total_is_the_weighted_terms(objective) -> None:
    loss = objective(*given(objective, 12, 3))
    torch.testing.assert_close(loss.total, reference.weighted(objective, loss), rtol=1e-12, atol=1e-12)


# -- symmetries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [o for o in ALL if o != WMSE(size=6)], ids=repr)
def test_the_order_of_the_batch_is_nothing_and_the_pairs_are_everything(objective) -> None:
    z1, z2, *rest = given(objective, 12, 3)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    base = objective(z1, z2, *rest).total
    torch.testing.assert_close(objective(z1[order], z2[order], *rest).total, base, rtol=1e-11, atol=1e-11)
    assert abs(float(objective(z1[order], z2, *rest).total - base)) > 1e-4


@pytest.mark.parametrize("objective", TWO_SIDED, ids=repr)
def test_two_views_may_be_exchanged(objective) -> None:
    z1, z2, *rest = given(objective, 12, 3)
    torch.testing.assert_close(
        objective(z2, z1, *rest).total, objective(z1, z2, *rest).total, rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("objective", [o for o in ALL if o not in TWO_SIDED], ids=repr)
def test_one_direction_gives_the_target_no_gradient(objective) -> None:
    inputs = given(objective, 12, 3)
    _, first, second = value_and_gradients(lambda *z: objective(*z).total, inputs)
    assert float(first.abs().max()) > 1e-3
    assert float(second.abs().max()) == 0


@pytest.mark.parametrize("objective", [o for o in ALL if hasattr(o, "scale_free")], ids=repr)
def test_scale_free_says_whether_the_scale_is_seen(objective) -> None:
    z1, z2, *rest = given(objective, 12, 3)
    change = abs(float(objective(3 * z1, 3 * z2, *rest).total - objective(z1, z2, *rest).total))
    # An added eps is no part of the claim: BarlowTwins and WMSE see the scale through it alone.
    limit = 1e-9 if getattr(objective, "eps", 0) == 0 else 0.5
    assert (change < limit) if objective.scale_free else (change > 0.5)


# -- precision --------------------------------------------------------------------------------------------------


@each_default
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(objective, dtype: torch.dtype) -> None:
    inputs = given(objective, 64, 16, dtype=dtype)
    plain = objective(*(z.float() for z in inputs))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = objective(*inputs)
        z = inputs[0].float()
        assert (z @ z.T).dtype == torch.bfloat16  # autocast was on
    assert mixed.total.dtype == torch.float32
    assert torch.equal(mixed.total, plain.total)
    assert all(torch.equal(mixed.terms[name], term) for name, term in plain.terms.items())


@each_default
def test_float32_is_close_to_float64_and_float64_stays(objective) -> None:
    exact = objective(*given(objective, 64, 16))
    assert exact.total.dtype == torch.float64
    rough = objective(*given(objective, 64, 16, dtype=torch.float32))
    assert float(rough.total) == pytest.approx(float(exact.total), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("objective", [o for o in ALL if not isinstance(o, WMSE)], ids=repr)
def test_gradients_are_finite_at_collapse(objective) -> None:
    _, _, *rest = given(objective, 8, 4)
    for z in (torch.ones(8, 4, dtype=torch.float64), torch.zeros(8, 4, dtype=torch.float64)):
        if isinstance(objective, FroSSL) and not bool(z.any()):
            continue  # no spectrum: see the next test
        found = value_and_gradients(lambda *v: objective(*v).total, (z, z, *rest))
        assert all(bool(torch.isfinite(g).all()) for g in found)


def test_where_there_is_no_value_at_collapse_the_term_is_named() -> None:
    with pytest.raises(FloatingPointError, match="entropy = nan"):
        FroSSL()(torch.zeros(8, 4), torch.zeros(8, 4))
    with pytest.raises(FloatingPointError, match="distance = nan"):
        WMSE()(torch.ones(8, 4), torch.ones(8, 4))


# -- guards -----------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", [0, 1])
def test_a_term_that_is_not_finite_is_named(objective, bad: float, which: int) -> None:
    inputs = [z.clone() for z in given(objective, 12, 3)]
    inputs[which][3, 2] = bad
    with pytest.raises(FloatingPointError, match=r"not finite: [a-z_]+ = (nan|inf|-inf).*learning rate"):
        objective(*inputs)


def test_only_the_terms_at_fault_are_named() -> None:
    z = torch.tensor([[1e12, 0.0], [-1e12, 1e12]])
    with pytest.raises(FloatingPointError, match="covariance = inf") as error:
        VICReg()(z, z)
    assert "invariance" not in str(error.value)
    loss = Loss(torch.tensor(1.0), {"a": torch.tensor(1.0)})
    assert check_finite(loss) is loss
    with pytest.raises(FloatingPointError, match="total = nan"):
        check_finite(Loss(torch.tensor(float("nan")), {"a": torch.tensor(1.0)}))


@each_default
def test_wrong_batches_are_refused_with_the_shapes(objective) -> None:
    _, _, *rest = given(objective, 4, 3)
    z = torch.ones(4, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(3, 3\).*same image"):
        objective(z, z[:3], *rest)
    with pytest.raises(ValueError, match=r"\(4, 3, 1\).*pool"):
        objective(z[:, :, None], z[:, :, None], *rest)
    with pytest.raises(TypeError, match="floating point"):
        objective(z.long(), z.long(), *rest)
    with pytest.raises(TypeError, match="floating point"):
        objective(z.numpy(), z.numpy(), *rest)
    if isinstance(objective, (BYOL, SimSiam, DINO)):
        assert math.isfinite(float(objective(z[:1], z[:1], *rest).total))
    else:
        with pytest.raises(ValueError, match=r"\(1, 3\).*N >= 2.*batch_size"):
            objective(z[:1], z[:1], *rest)


@each_default
def test_number_settings_are_checked_by_name(objective) -> None:
    for field in fields(objective):
        if field.type == "float" or (isinstance(objective, VICReg) and field.name == "variance"):
            for bad in (-1.0, float("nan"), float("inf")):
                with pytest.raises(ValueError, match=field.name):
                    type(objective)(**{field.name: bad})
            with pytest.raises((TypeError, ValueError), match=field.name):
                type(objective)(**{field.name: "1"})
        if field.type.startswith("int"):
            with pytest.raises(TypeError, match=f"{field.name} must be an integer"):
                type(objective)(**{field.name: 2.5})
            with pytest.raises(ValueError, match=field.name):
                type(objective)(**{field.name: 0})


def test_numpy_numbers_become_numbers() -> None:
    assert repr(SimCLR(np.float64(0.5))) == "SimCLR(temperature=0.5)"
    assert repr(SwAV(iterations=np.int64(4))) == "SwAV(temperature=0.1, eps=0.05, iterations=4)"


# -- names and protocols ----------------------------------------------------------------------------------------


@every
def test_the_repr_rebuilds_and_the_object_is_a_frozen_value(objective) -> None:
    assert parse(repr(objective), OBJECTIVES) == objective
    assert pickle.loads(pickle.dumps(objective)) == objective
    assert hash(objective) == hash(parse(repr(objective), OBJECTIVES))
    with pytest.raises(FrozenInstanceError):
        objective.temperature = 1.0


@each_default
def test_the_docstring_is_complete(objective) -> None:
    text = type(objective).__doc__
    assert all(
        part in text for part in (".. math::", "Shapes:", "Raises:", "References:", "Example:", "ollapse")
    )


def test_every_protocol_has_its_objectives() -> None:
    assert {o.inputs for o in DEFAULTS} == CALLS.keys()
    assert sorted(name for inputs in CALLS for name in accepting(inputs)) == sorted(OBJECTIVES)
    assert LogDet(BYOL()).inputs == "prediction and target"


def test_a_wrong_combination_is_refused_before_any_work() -> None:
    require_inputs(LogDet(BYOL()), "prediction and target", caller="a method")
    require_inputs(lambda z1, z2: None, "two embeddings", caller="a method")  # the user's own
    with pytest.raises(
        ValueError, match=r"SwAV takes two prototype scores.*JointEmbedding.*fit: VICReg, SimCLR"
    ):
        require_inputs(SwAV(), "two embeddings", caller="JointEmbedding")
    with pytest.raises(ValueError, match="unknown inputs"):
        require_inputs(SwAV(), "two views", caller="JointEmbedding")


def test_over_pairs_is_the_mean_of_the_calls() -> None:
    p1, p2 = given(BYOL(), 5, 3)
    t1, t2 = given(BYOL(), 5, 3, seed=1)
    both = over_pairs(BYOL(), [(p1, t2), (p2, t1)])
    expected = (BYOL()(p1, t2).total + BYOL()(p2, t1).total) / 2
    torch.testing.assert_close(both.total, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(both.terms["distance"], expected, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="pairs is empty"):
        over_pairs(BYOL(), [])


def test_logits_leave_out_self_and_point_to_the_other_view() -> None:
    z1, z2 = given(SimCLR(), 5, 3)
    logits, positive = terms.nt_xent_logits(z1, z2, 1.0)
    assert bool(torch.isinf(logits.diagonal()).all())
    assert positive.tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    same = terms.same_image(5, z1.device)
    assert int(same.sum()) == 20
    assert bool(same[torch.arange(10), positive].all())


def test_invariance_alone_and_no_inner_without_embeddings() -> None:
    assert Invariance().inputs == "two embeddings"
    with pytest.raises(ValueError, match="no embeddings"):
        LogDet(SwAV())
    with pytest.raises(TypeError, match="inner must be an objective"):
        PairDist(VICReg)
    with pytest.raises(ValueError, match=r"no minimum.*leave_one_out=False"):
        KDE(VICReg())
    with pytest.raises(TypeError, match="leave_one_out"):
        KDE(leave_one_out=1)
    with pytest.raises(ValueError, match="side"):
        PairDist(side="both")
    with pytest.raises(ValueError, match=r"\(1, 3\).*N >= 2"):
        LogDet(BYOL())(torch.ones(1, 3), torch.ones(1, 3))
