"""Closed forms: collapse, chance, independent normal inputs, optima; and what the field's libraries compute."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference_objectives as reference
import torch
from scipy import integrate, special, stats
from torch import Tensor

from infossl.objectives import (
    BYOL,
    DCL,
    DINO,
    KDE,
    MMCR,
    WMSE,
    AlignUniform,
    BarlowTwins,
    FroSSL,
    Invariance,
    LogDet,
    PairDist,
    SIGReg,
    SimCLR,
    SimSiam,
    SpectralContrastive,
    SwAV,
    VICReg,
    moved_centre,
    over_pairs,
    terms,
    unit_directions,
)


def pair(n: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    z1, z2 = reference.given(VICReg(), n, k, seed)
    return z1, z2


def rotation(k: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(stats.ortho_group.rvs(k, random_state=np.random.default_rng(seed)))


# -- collapse and chance ----------------------------------------------------------------------------------------

N, K = 8, 4
AT_COLLAPSE = [
    (VICReg(), 24.75),
    (VICReg(preset="solo"), 49.5),
    (VICReg(preset="vicregl"), 24.75),
    (VICReg(preset="eb_jepa"), 1.98),
    (SimCLR(), math.log(2 * N - 1)),
    (DCL(), math.log(2 * N - 2)),
    (AlignUniform(), 0.0),
    (SpectralContrastive(), K * K - 2 * K + K),  # of the rows 1...1, of squared length K
    (BarlowTwins(), K),
    (FroSSL(), 0.0),
    (MMCR(local=0.5), 0.5 * math.sqrt(2) - math.sqrt(N)),
    (WMSE(eps=0.1), 2.0),
    (BYOL(), 0.0),
    (SimSiam(), -1.0),
    (SwAV(), math.log(K)),
    (Invariance(), 0.0),
    (LogDet(), 0.0),
    (PairDist(), -K / 2 * math.log(2 * math.pi * math.e * 0.1 * K)),
    (KDE(), -K / 2 * math.log(2 * math.pi * 0.2 * K)),
]


@pytest.mark.parametrize(("objective", "value"), AT_COLLAPSE, ids=lambda v: repr(v))
def test_value_at_collapse(objective, value: float) -> None:
    z = torch.ones(N, K, dtype=torch.float64)
    assert float(objective(z, z).total) == pytest.approx(value, abs=1e-10)


def test_collapse_of_the_spectral_form() -> None:
    z = torch.zeros(N, K, dtype=torch.float64)
    assert float(SpectralContrastive()(z, z).total) == K
    z[:, 0] = 1
    assert float(SpectralContrastive()(z, z).total) == K - 1


def test_chance_of_scores_is_log_k() -> None:
    for k, value in ((65536, 11.0904), (3000, 8.0064)):
        zeros = torch.zeros(2, k, dtype=torch.float64)
        loss = DINO()(zeros, zeros, torch.zeros(k, dtype=torch.float64))
        assert float(loss.total) == pytest.approx(math.log(k), abs=1e-10)
        assert float(SwAV()(zeros, zeros).total) == pytest.approx(value, abs=5e-5)
    one = torch.tensor([[1e3, 0.0, 0.0]], dtype=torch.float64)
    loss = DINO()(one, one, torch.zeros(3, dtype=torch.float64))
    assert float(loss.total) == float(loss.terms["teacher_entropy"]) == 0


@pytest.mark.parametrize("n", [2, 16, 256])
def test_nt_xent_at_collapse_is_log_of_the_candidates(n: int) -> None:
    z = torch.ones(n, 3, dtype=torch.float64)
    assert float(SimCLR(temperature=0.07)(z, z).total) == pytest.approx(math.log(2 * n - 1), abs=1e-10)
    assert float(DCL(temperature=0.07)(z, z).total) == pytest.approx(math.log(2 * n - 2), abs=1e-10)


@pytest.mark.parametrize(("n", "tau"), [(256, 0.5), (16, 0.2)])
def test_contrast_of_perfect_orthonormal_pairs(n: int, tau: float) -> None:
    z = torch.eye(n, dtype=torch.float64)
    expected = math.log(math.exp(1 / tau) + 2 * n - 2) - 1 / tau
    assert float(SimCLR(tau)(z, z).total) == pytest.approx(expected, abs=1e-10)
    assert float(DCL(tau)(z, z).total) == pytest.approx(math.log(2 * n - 2) - 1 / tau, abs=1e-10)
    if (n, tau) == (256, 0.5):
        assert expected == pytest.approx(4.2488, abs=5e-5)


def test_optima() -> None:
    q = torch.linalg.qr(pair(64, 8)[0] - pair(64, 8)[0].mean(0))[0]  # orthonormal columns of mean zero
    z = q * math.sqrt(63) * 1.001
    for preset in ("official", "solo", "vicregl", "eb_jepa"):
        assert float(VICReg(preset=preset)(z, z).total) == pytest.approx(0, abs=1e-10)
    assert float(SpectralContrastive()(8 * q, 8 * q).total) == pytest.approx(0, abs=1e-10)
    assert float(BarlowTwins(eps=1e-14)(q, q).total) == pytest.approx(0, abs=1e-10)
    assert float(WMSE()(z, z).total) == pytest.approx(0, abs=1e-10)
    assert float(FroSSL()(z, z).total) == pytest.approx(-2 * math.log(8), abs=1e-10)
    for n, k in ((6, 8), (32, 8)):
        rows = torch.eye(8, dtype=torch.float64).repeat(4, 1)[:n]
        assert float(MMCR()(rows, rows).total) == pytest.approx(-math.sqrt(n * min(n, k)), abs=1e-10)


# -- independent normal inputs ----------------------------------------------------------------------------------

# Expectation for N = 256 rows in K = 64, and the standard deviation over 300 draws from another seed.
_N, _K = 256, 64
_HINGE = integrate.quad(
    lambda v: max(0.0, 1 - math.sqrt(v + 1e-4)) * stats.chi2(_N - 1, scale=1 / (_N - 1)).pdf(v), 0.3, 1 - 1e-4
)[0]
AT_CHANCE = [
    (VICReg(), "invariance", 2.0, 0.0222),
    (VICReg(), "variance", _HINGE, 0.0023),
    (VICReg(), "covariance", 2 * (_K - 1) / (_N - 1), 0.0134),
    (SimCLR(), "attraction", 0.0, 0.039),
    (DCL(), "attraction", 0.0, 0.078),
    (AlignUniform(), "alignment", 2.0, 0.0156),
    (SpectralContrastive(), "invariance", 2.0 * _K, 1.37),
    (SpectralContrastive(), "second_moment", _K * (_K + 1) / (2 * _N), 0.299),
    (BarlowTwins(), "invariance", _K * (1 + 1 / (_N - 1)), 0.995),
    (BarlowTwins(), "redundancy", _K * (_K - 1) / (_N - 1), 0.343),
    (FroSSL(), "invariance", _K / _N, 0.00194),
    (WMSE(), "distance", 2.0, 0.0153),
    (BYOL(), "distance", 2.0, 0.0156),
    (SimSiam(), "similarity", 0.0, 0.0078),
    (SIGReg(), "invariance", 0.5, 0.00536),
    (SIGReg(knots=129, reach=8.0), "gaussian", math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3)), 0.176),
]


@pytest.mark.parametrize(("objective", "term", "expected", "sd"), AT_CHANCE)
def test_terms_of_independent_normal_inputs(objective, term: str, expected: float, sd: float) -> None:
    for seed in range(3):
        z1, z2 = pair(_N, _K, seed)
        rest = (unit_directions(_K, 16, seed),) if isinstance(objective, SIGReg) else ()
        assert abs(float(objective(z1, z2, *rest).terms[term]) - expected) <= 4 * sd


def test_the_vicreg_of_normal_views_is_about_50_8() -> None:
    assert pytest.approx(50.95, abs=0.05) == 25 * (2 + _HINGE) + 2 * (_K - 1) / (_N - 1)


@pytest.mark.parametrize(("k", "value", "sd"), [(2, -1.58, 0.0025), (8, -3.08, 0.0025), (128, -3.94, 0.0006)])
def test_uniformity_of_the_uniform_sphere(k: int, value: float, sd: float) -> None:
    # E exp(2 t cos) is a Bessel function of order k / 2 - 1.
    expected = math.log(special.ive(k / 2 - 1, 4) * special.gamma(k / 2) * 2 ** (1 - k / 2))
    assert expected == pytest.approx(value, abs=5e-3)
    z = pair(1000, k)[0]  # the standard deviations are over 100 draws from another seed
    assert abs(float(terms.uniformity(z)) - expected) <= 4 * sd


def test_the_gaussian_test_at_collapse_is_an_integral_of_exponentials() -> None:
    # (1 - e^(-t^2 / 2))^2 e^(-t^2 / 2) on [-r, r], term by term.
    part = lambda c, r: math.sqrt(math.pi / c) * math.erf(r * math.sqrt(c))  # noqa: E731
    zeros = torch.zeros(100, 2, dtype=torch.float64)
    for r, limit in ((3.0, 0.402), (8.0, 0.409)):
        expected = part(0.5, r) - 2 * part(1.0, r) + part(1.5, r)
        assert expected == pytest.approx(limit, abs=5e-4)
        assert float(terms.epps_pulley(zeros, 2001, r)) == pytest.approx(100 * expected, rel=1e-6)
        assert float(terms.epps_pulley(zeros, 17, r)) == pytest.approx(100 * expected, rel=5e-3)


def test_the_matrix_entropy_of_normal_columns() -> None:
    # 0.0042: standard deviation over 300 draws from another seed.
    entropy = float(FroSSL()(*pair(_N, _K)).terms["entropy"])
    assert abs(entropy - (math.log(_K) - math.log(1 + (_K - 1) / _N))) <= 4 * 0.0042


# -- what the libraries of the field compute --------------------------------------------------------------------


def wave(n: int, k: int, phase: float) -> Tensor:
    """Numbers that any library can be given."""
    i, j = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(k, dtype=torch.float64)[None, :]
    angle = 1.0 + phase + (i + 1) * (j + 1) * 0.7 + 0.3 * i * i
    return torch.sin(angle) * (0.5 + 0.1 * j) + 0.2 * torch.cos(3 * i + j)


# Values of lightly 1.6.0 on these tensors in float64.
LIGHTLY = [
    (VICReg(), 13.537532507012),  # VICRegLoss()
    (VICReg(preset="vicregl"), 13.527170904400),  # VICRegLLoss(), its loss of global views
    (SimCLR(0.5), 2.116254510585),  # NTXentLoss(temperature=0.5)
    (DCL(0.1), -0.254180920530),  # DCLLoss(temperature=0.1)
    (BarlowTwins(0.005), 0.035127479737),  # BarlowTwinsLoss(lambda_param=0.005)
    (SimSiam(), -0.901894119361),  # NegativeCosineSimilarity()
    (FroSSL(), -2.889441430292),  # FroSSLLoss(invariance_weight=0.5): it counts invariance once per view
    (MMCR(local=0.005), -8.313717017942),  # MMCRLoss() of normalised rows
    (WMSE(), 0.259998624931),  # WMSELoss(embedding_dim=5, w_size=16, track_running_stats=False)
]


@pytest.mark.parametrize(("objective", "value"), LIGHTLY, ids=lambda v: repr(v))
def test_lightly_computes_the_same(objective, value: float) -> None:
    a = wave(16, 5, 0.0)
    b = a + 0.4 * wave(16, 5, 2.0)
    assert float(objective(a, b).total) == pytest.approx(value, abs=1e-12)


def test_lightly_computes_the_same_from_scores_and_directions() -> None:
    a = wave(16, 5, 0.0)
    b = a + 0.4 * wave(16, 5, 2.0)
    assert float(SwAV()(a / 3, b / 3).total) == pytest.approx(1.058914106970, abs=1e-12)  # SwaVLoss()
    # LeJEPALoss(lambda_param=0.05) with these directions in place of its own
    assert float(SIGReg()(a, b, wave(5, 8, 1.0)).total) == pytest.approx(0.163519727112, abs=1e-12)
    centre = torch.linspace(-0.2, 0.2, 5, dtype=torch.float64)  # DINOLoss(teacher_temp=0.04)
    both = over_pairs(DINO(), [(b, a, centre), (a, b, centre)])
    assert float(both.total) == pytest.approx(1.436723743963, abs=1e-12)
    moved = moved_centre(centre, torch.cat([a, b]))
    assert float(moved.sum()) == pytest.approx(0.022409345589, abs=1e-12)


def test_the_four_vicregs_are_one_loss_with_other_weights() -> None:
    z1, z2 = (0.5 * z for z in pair(64, 8))
    value = {
        name: float(VICReg(preset=name)(z1, z2).total) for name in ("official", "solo", "vicregl", "eb_jepa")
    }
    t = VICReg()(z1, z2).terms
    inv, var, cov = (float(t[name]) for name in ("invariance", "variance", "covariance"))
    assert value["solo"] - value["official"] == pytest.approx(25 * var, rel=1e-10)
    assert value["official"] - value["vicregl"] == pytest.approx(cov / 2, rel=1e-10)
    assert value["eb_jepa"] == pytest.approx(inv + 2 * var + 80 * cov / 7, rel=1e-10)
    like_official = VICReg(
        variance=0.5, covariance=7 / 25, preset="eb_jepa"
    )  # standard deviation 0.5, (K - 1) / 25
    assert 25 * float(like_official(z1, z2).total) == pytest.approx(value["official"], rel=1e-10)
    # The terms behind the comparison of libraries at N = 256, K = 2048: 19.70, 32.21, 18.36 and 1.29.
    inv, var, cov = 0.1804, 0.5004, 2.68
    sums = [25 * inv + 25 * var + cov, 25 * inv + 50 * var + cov, 25 * inv + 25 * var + cov / 2]
    assert sums == pytest.approx([19.70, 32.21, 18.36], abs=0.01)
    assert inv + 2 * var + 80 * cov / 2047 == pytest.approx(1.29, abs=0.005)
    with pytest.raises(ValueError, match="preset"):
        VICReg(preset="vissl")


# -- invariances ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "rotations", "shifts", "lengths", "axes"),
    [
        (VICReg(), False, True, False, False),
        (SimCLR(), True, False, True, False),
        (DCL(), True, False, True, False),
        (AlignUniform(), True, False, True, False),
        (MMCR(local=0.1), True, False, True, False),
        (BYOL(), True, False, True, False),
        (SimSiam(), True, False, True, False),
        (SpectralContrastive(), True, False, False, False),
        (BarlowTwins(eps=1e-14), False, True, False, True),
        (WMSE(), False, True, False, True),
        (FroSSL(), False, False, False, True),
        (Invariance(), True, True, False, False),
        (LogDet(), True, True, False, False),
        (PairDist(), True, True, False, False),
        (KDE(), True, False, True, False),
    ],
    ids=lambda v: repr(v) if not isinstance(v, bool) else str(v)[0],
)
def test_what_leaves_the_value_unchanged(
    objective, rotations: bool, shifts: bool, lengths: bool, axes: bool
) -> None:
    z1, z2 = pair(16, 5)
    generator = torch.Generator().manual_seed(1)
    rows = torch.rand(16, 1, generator=generator, dtype=torch.float64) + 0.1
    columns = torch.rand(5, generator=generator, dtype=torch.float64) + 0.1
    q = rotation(5)
    changes = {
        "rotations": (rotations, lambda z: z @ q),
        "shifts": (shifts, lambda z: z + 7 * columns),
        "lengths of rows": (lengths, lambda z: 1e3 * rows * z),
        "scales of columns": (axes, lambda z: z * columns),
    }
    base = float(objective(z1, z2).total)
    for name, (same, change) in changes.items():
        moved = float(objective(change(z1), change(z2)).total)
        assert (abs(moved - base) < 1e-8) if same else (abs(moved - base) > 1e-3), name


def test_vicreg_ignores_signs_and_order_of_dimensions() -> None:
    z1, z2 = pair(16, 5)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    change = lambda z: (z * signs)[:, [3, 1, 4, 0, 2]]  # noqa: E731
    base = VICReg()(z1, z2)
    torch.testing.assert_close(VICReg()(change(z1), change(z2)).total, base.total, rtol=1e-10, atol=0)
    q = rotation(5)
    rotated = VICReg()(z1 @ q, z2 @ q).terms
    torch.testing.assert_close(rotated["invariance"], base.terms["invariance"], rtol=1e-12, atol=0)
    assert abs(float(rotated["covariance"] - base.terms["covariance"])) > 1e-3  # its basis matters


# -- state that is passed in ------------------------------------------------------------------------------------


def test_sinkhorn_shares_the_samples_out() -> None:
    scores = pair(60, 5)[0] / 4 + torch.linspace(0, 1, 5, dtype=torch.float64)  # a favourite prototype
    q = terms.sinkhorn(scores, iterations=50)
    torch.testing.assert_close(q.sum(dim=1), torch.ones(60, dtype=torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(q.sum(dim=0), torch.full((5,), 12.0, dtype=torch.float64), rtol=1e-3, atol=0)
    assert bool(torch.isfinite(terms.sinkhorn(1e4 * scores)).all())  # exp(2e5) would not be


def test_directions_are_unit_of_the_seed_alone_and_used_as_directions() -> None:
    before = torch.random.get_rng_state()
    a = unit_directions(5, 8, seed=3)
    assert torch.equal(a, unit_directions(5, 8, seed=3))
    assert not torch.equal(a, unit_directions(5, 8, seed=4))
    assert torch.equal(torch.random.get_rng_state(), before)
    z1, z2 = pair(16, 5)
    torch.testing.assert_close(SIGReg()(z1, z2, 7 * a.double()).total, SIGReg()(z1, z2, a.double()).total)
    with pytest.raises(ValueError, match=r"\(4, 8\).*\(5, M\)"):
        SIGReg()(z1, z2, a[:4])
    with pytest.raises(TypeError, match="unit_directions"):
        SIGReg()(z1, z2, a.long())
    with pytest.raises(ValueError, match="at least 1"):
        unit_directions(5, 0, seed=0)
    with pytest.raises(ValueError, match="gaussian"):
        SIGReg(gaussian=1.5)


def test_centres_and_sub_batches_are_checked() -> None:
    s, t = pair(6, 3)
    with pytest.raises(ValueError, match=r"centre has shape \(4,\).*\(6, 3\)"):
        DINO()(s, t, torch.zeros(4))
    with pytest.raises(TypeError, match="centre"):
        DINO()(s, t, None)
    with pytest.raises(ValueError, match="momentum"):
        moved_centre(torch.zeros(3), t, momentum=1.5)
    with pytest.raises(ValueError, match=r"\(6, 3\).*multiple of size = 4"):
        WMSE(size=4)(s, t)
    with pytest.raises(ValueError, match=r"covariance of 3 rows is singular in 3 dimensions.*eps > 0"):
        WMSE(size=3)(s, t)
    with pytest.raises(ValueError, match="eps"):
        WMSE(eps=1.0)
