"""Critics, what they are trained on and how they are valued, against slow copies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from estimators import _critic_bounds as B
from estimators._critics import Critic
from estimators._training import shared
from estimators.score_bounds import dv_bound, flo_bound, infonce_bound, jsd_bound, nwj_bound, smile_bound

KINDS = ["separable", "joint", "bilinear"]


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """d independent pairs of correlation rho: I = -d/2 log(1 - rho^2)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((n, d))


def critic_and_samples(kind: str, n: int = 23) -> tuple[Critic, torch.Tensor, torch.Tensor, torch.Tensor]:
    critic = Critic(kind, dx=2, dy=3, hidden=8, layers=2, embed=4)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, d, generator=generator) for d in (2, 3))
    return critic, critic.initial([1, 2]), x, y


def one_by_one(critic: Critic, flat: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Scores (S, n, n) of a network in float64, one training and one pair after the other."""
    out = np.zeros((len(flat), len(x), len(y)))
    for s in range(len(flat)):
        parts, offset = [], 0
        for shape in critic.shapes():
            size = math.prod(shape)
            parts.append(flat[s, offset : offset + size].reshape(-1, shape[-1]).double().numpy())
            offset += size

        def network(v, weights):
            for k in range(0, len(weights), 2):
                v = (v if k == 0 else np.maximum(v, 0)) @ weights[k] + weights[k + 1][0]
            return v

        for i, a in enumerate(x.double().numpy()):
            for j, b in enumerate(y.double().numpy()):
                if critic.kind == "joint":
                    first = np.concatenate([parts[0], parts[1]])
                    out[s, i, j] = network(np.concatenate([a, b]), [first, *parts[2:]])[0]
                elif critic.kind == "bilinear":
                    out[s, i, j] = np.append(a, 1) @ parts[0] @ np.append(b, 1)
                else:
                    half = len(parts) // 2
                    g = a @ parts[0] + network(a, parts[1:half])
                    h = b @ parts[half] + network(b, parts[half + 1 :])
                    out[s, i, j] = g @ h / math.sqrt(critic.embed)
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_score_matrix_is_the_network_of_every_pair(kind):
    critic, flat, x, y = critic_and_samples(kind, 9)
    a, b = critic.embeddings(flat, x.expand(2, -1, -1), y.expand(2, -1, -1))
    np.testing.assert_allclose(
        critic.matrix(flat, a, b).numpy(), one_by_one(critic, flat, x, y), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_dv_score_uses_all_pairs(kind, monkeypatch):
    critic, flat, x, y = critic_and_samples(kind)
    monkeypatch.setattr(B, "_PAIRS", 100)  # several chunks
    scored = B.dv_score(B.pair_sums(critic, flat, B.Samples(x, y)))
    matrices = one_by_one(critic, flat, x, y)
    np.testing.assert_allclose(scored.value.numpy(), [dv_bound(m) for m in matrices], atol=1e-4)
    weights = np.array([np.exp(m[~np.eye(23, dtype=bool)]) for m in matrices])
    np.testing.assert_allclose(scored.effective.numpy(), weights.sum(1) ** 2 / (weights**2).sum(1), rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_infonce_score_is_the_mean_over_batches(kind):
    critic, flat, x, y = critic_and_samples(kind)
    scored = B.infonce_score(critic, flat, B.Samples(x, y), batch=5, passes=3, seed=4)
    matrices, generator = one_by_one(critic, flat, x, y), torch.Generator().manual_seed(4)
    values = []
    for _ in range(3):
        order = torch.randperm(23, generator=generator)[:20].reshape(4, 5).numpy()
        values += [[infonce_bound(m[np.ix_(rows, rows)]) for m in matrices] for rows in order]
    np.testing.assert_allclose(scored.value.numpy(), np.mean(values, axis=0), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_of_a_training_step(kind):
    """All unmatched pairs, also of a joint critic with all shifts; row i of the others belongs to x_i."""
    critic, flat, x, y = critic_and_samples(kind)
    a, b = critic.embeddings(flat, *shared(flat, x, y))
    matched, others, count = critic.pairs(flat, a, b, shifts=22)
    matrices = one_by_one(critic, flat, x, y)
    assert count == 22
    np.testing.assert_allclose(matched.numpy(), matrices.diagonal(axis1=1, axis2=2), atol=1e-4)
    np.testing.assert_allclose(critic.matched(flat, a, b).numpy(), matched.numpy(), atol=1e-5)
    for found, matrix in zip(others.numpy(), matrices, strict=True):
        for i in range(23):
            column = np.sort(found[:, i][np.isfinite(found[:, i])])
            np.testing.assert_allclose(column, np.sort(np.delete(matrix[i], i)), atol=1e-4)
    found = B.jsd_mean(matched, others, count)
    np.testing.assert_allclose(found.numpy(), [2 * jsd_bound(m) for m in matrices], atol=1e-4)
    found = matched.mean(-1) - B._log_mean(others, count)
    np.testing.assert_allclose(found.numpy(), [dv_bound(m) for m in matrices], atol=1e-4)


def built(name: str, kind: str, tau: float = math.inf):
    critic, _, x, y = critic_and_samples(kind)
    other = torch.Generator().manual_seed(9)
    validation = B.Samples(torch.randn(12, 2, generator=other), torch.randn(12, 3, generator=other))
    bound = B.BOUNDS[name](critic, validation, n_test=23, batch=8, seed=0, tau=tau)
    return critic, bound, bound.initial([1, 2]), B.Samples(x, y), validation


def off_diagonal_mean(matrix: np.ndarray) -> float:
    return np.exp(matrix[~np.eye(len(matrix), dtype=bool)]).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["NWJ", "JSD"])
def test_nwj_value_has_the_constant_of_the_validation_part(name, kind):
    critic, bound, flat, test, validation = built(name, kind)
    scored = bound.score(flat, test)
    for s, (m, v) in enumerate(
        zip(one_by_one(critic, flat, *test), one_by_one(critic, flat, *validation), strict=True)
    ):
        assert scored.value[s].item() == pytest.approx(
            nwj_bound(m - math.log(off_diagonal_mean(v))), abs=1e-4
        )


@pytest.mark.parametrize("kind", KINDS)
def test_smile_value_clips_the_unmatched_scores_alone(kind):
    critic, bound, flat, test, _ = built("SMILE", kind, tau=0.3)
    matrices = one_by_one(critic, flat, *test)
    expected = [
        np.diag(m).mean() - np.diag(np.clip(m, -0.3, 0.3)).mean() + dv_bound(np.clip(m, -0.3, 0.3))
        for m in matrices
    ]
    np.testing.assert_allclose(bound.score(flat, test).value.numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(expected, [smile_bound(m, 0.3) for m in matrices], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_flo_value_is_the_bound_with_u_from_the_second_network(kind):
    critic, bound, flat, test, validation = built("FLO", kind)
    size = critic.initial([1]).shape[1]
    second = Critic("joint", 2, 3, 8, 2, 4)

    def parts(samples):
        v = one_by_one(second, flat[:, size:], *samples).diagonal(axis1=1, axis2=2)
        return one_by_one(critic, flat[:, :size], *samples), v

    scored = bound.score(flat, test)
    for s, (m, v, m_val, v_val) in enumerate(zip(*parts(test), *parts(validation), strict=True)):
        constant = math.log(off_diagonal_mean(m_val - v_val[:, None]))
        expected = flo_bound(m, v + constant - np.diag(m))
        assert scored.value[s].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(B.BOUNDS))
def test_objectives_rise_along_their_gradient(name, kind):
    _, bound, flat, test, _ = built(name, kind)
    if name == "MINE":  # the running mean of its denominator changes at every call
        return
    both = shared(flat, *test)
    flat = flat.requires_grad_()
    before = bound.objective(flat, *both)
    (gradient,) = torch.autograd.grad(before.sum(), flat)
    step = 1e-3 * gradient / gradient.norm(dim=1, keepdim=True)
    gain = (bound.objective((flat + step).detach(), *both) - before).detach()
    torch.testing.assert_close(gain, 1e-3 * gradient.norm(dim=1), rtol=0.05, atol=2e-5)


def test_exploding_weights_of_one_batch_have_a_bounded_gradient():
    t = torch.tensor([-3.0, 1.0, 200.0], requires_grad=True)
    value = B._limited_exp(t)
    (gradient,) = torch.autograd.grad(value.sum(), t)
    torch.testing.assert_close(gradient, torch.tensor([math.exp(-3), math.e, math.e]))
    torch.testing.assert_close(value.detach(), torch.tensor([math.exp(-3), math.e, 200 * math.e]))


class Fixed:
    """A critic without parameters: f = 0.4 x y, so that e^f has a variance."""

    kind = "separable"

    def embeddings(self, flat, x, y):
        return 0.4 * x, y

    def matrix(self, flat, a, b):
        return a @ b.mT


SCORES = {
    "infonce": lambda flat, both: B.infonce_score(Fixed(), flat, both, 32, 8, 0),
    "dv": lambda flat, both: B.dv_score(B.pair_sums(Fixed(), flat, both)),
    "nwj": lambda flat, both: B.nwj_score(B.pair_sums(Fixed(), flat, both), torch.full((1,), -0.1)),
    "smile": lambda flat, both: B.dv_score(B.pair_sums(Fixed(), flat, both, clip=0.5)),
}


@pytest.mark.parametrize("score", SCORES)
def test_influence_gives_the_scatter_over_test_sets(score):
    """Standard deviation over 200 test sets, itself known to 1 / sqrt(400), against the mean reported error."""
    values, errors = [], []
    for s in range(200):
        x, y = (torch.as_tensor(v, dtype=torch.float32) for v in gaussian(160, 1, 0.7, seed=s))
        scored = SCORES[score](torch.zeros(1, 1), B.Samples(x, y))
        values.append(scored.value.item())
        errors.append(scored.influence.std().item() / math.sqrt(160))
    # 0.05: first-order errors and, for InfoNCE, 8 partitions instead of all
    assert abs(math.log(np.std(values) / np.mean(errors))) <= 4 / math.sqrt(400) + 0.05


def test_mine_gradient_has_the_running_denominator():
    """Its gradient is E grad f - E[e^f grad f] / running mean, here by hand in the first two steps."""
    critic, _, x, y = critic_and_samples("separable", 6)
    objective = B.mine_objective(critic, shifts=4, momentum=0.9)
    running = None
    for seed in (5, 6):
        flat = critic.initial([seed]).requires_grad_()
        both = shared(flat, x, y)
        (got,) = torch.autograd.grad(objective(flat, *both).sum(), flat)
        scores = critic.matrix(flat, *critic.embeddings(flat, *both))[0]
        others = scores[~torch.eye(6, dtype=torch.bool)]
        z = others.exp().mean()
        running = z.item() if running is None else 0.9 * running + 0.1 * z.item()
        (expected,) = torch.autograd.grad(scores.diagonal().mean() - z / running, flat)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_scores_far_apart_have_no_subnormal_gradient():
    scores = torch.tensor([[0.0, -50.0, -95.0]], requires_grad=True)
    for raw, slowest in ((scores, True), (B._normal(scores, -1), False)):
        (gradient,) = torch.autograd.grad(raw.logsumexp(-1).sum(), scores)
        subnormal = (gradient != 0) & (gradient.abs() < torch.finfo(torch.float32).tiny)
        assert bool(subnormal.any()) == slowest
        torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.0, 0.0]]))
