from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from infossl.readouts import OnlineProbe, knn_accuracy, leave_one_out, ridge_accuracy, ridge_weights


def blobs(n: int, d: int = 5, classes: int = 3, spread: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian clouds around the same centres for every seed."""
    centres = 2 * torch.randn(classes, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=generator)
    return centres[y] + spread * torch.randn(n, d, generator=generator, dtype=torch.float64), y


def one_hot(y: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(y).double()


READOUTS = [ridge_accuracy, knn_accuracy]


# -- both -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readout", READOUTS)
def test_separable_classes_are_read_and_random_labels_are_not(readout) -> None:
    z, y = blobs(300, spread=0.1)
    test_z, test_y = blobs(200, spread=0.1, seed=1)
    assert readout(z, y, test_z, test_y) == 1.0
    noise = torch.randint(3, (500,), generator=torch.Generator().manual_seed(3))
    accuracy = readout(z, noise[:300], test_z, noise[300:])
    assert abs(accuracy - 1 / 3) <= 4 * math.sqrt(2 / 9 / 200)


@pytest.mark.parametrize("readout", READOUTS)
def test_rotation_scale_and_names_of_classes_change_nothing(readout) -> None:
    (z, y), (test_z, test_y) = blobs(300), blobs(200, seed=1)
    base = readout(z, y, test_z, test_y)
    assert 0.5 < base < 1
    q = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    for scale in (1e-6, 1.0, 1e6):
        assert readout(scale * z @ q, y, scale * test_z @ q, test_y) == base
    names = torch.tensor([70, -3, 12])
    assert readout(z, names[y], test_z, names[test_y]) == base
    assert readout(z.numpy(), y.numpy(), test_z.numpy(), test_y.numpy()) == base


@pytest.mark.parametrize("readout", READOUTS)
def test_bad_input_is_refused_with_the_mend(readout) -> None:
    z, y = blobs(40)
    with pytest.raises(ValueError, match=r"train_z has shape \(40, 5\) and train_y \(39,\)"):
        readout(z, y[:-1], z, y)
    with pytest.raises(ValueError, match="same d"):
        readout(z, y, z[:, :3], y)
    with pytest.raises(TypeError, match=r"test_y.*long"):
        readout(z, y, z, y.double())
    bad = z.clone()
    bad[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"test_z.*NaN"):
        readout(z, y, bad, y)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_collapsed_representation_reads_as_one_class(readout) -> None:
    y = torch.tensor([0] * 30 + [1] * 10)
    constant = torch.ones(40, 4)
    assert readout(constant, y, constant, y) in {0.75, 0.25}
    assert ridge_accuracy(constant, y, constant, y) == 0.75  # the commonest


# -- ridge ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(50, 5), (12, 30)])
def test_ridge_weights_equal_scikit_learns_in_both_forms(n: int, d: int) -> None:
    z, y = blobs(n, d)
    weights, offset = ridge_weights(z, one_hot(y), 0.1)
    penalty = n * 0.1 * float(z.var(0, correction=0).mean())
    peer = Ridge(alpha=penalty, solver="cholesky").fit(z.numpy(), one_hot(y).numpy())
    np.testing.assert_allclose(weights.numpy().T, peer.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(offset.numpy(), peer.intercept_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(20, 4), (10, 25)])
def test_leave_one_out_equals_refitting_without_each_sample(n: int, d: int) -> None:
    z, y = blobs(n, d)
    targets = one_hot(y)
    penalties = (1e-3, 0.1, 10.0)
    fast = leave_one_out(z, targets, penalties)
    for value, l2 in zip(fast, penalties, strict=True):
        alpha = n * l2 * float(z.var(0, correction=0).mean())  # held fixed
        total = 0.0
        for i in range(n):
            rest = [j for j in range(n) if j != i]
            peer = Ridge(alpha=alpha, solver="cholesky").fit(z[rest].numpy(), targets[rest].numpy())
            total += float(((peer.predict(z[i : i + 1].numpy()) - targets[i].numpy()) ** 2).sum()) / n
        assert float(value) == pytest.approx(total, rel=1e-8)


def test_the_penalty_adapts_to_the_dimension() -> None:
    def wide(n: int, seed: int) -> tuple[Tensor, Tensor]:
        z, y = blobs(n, seed=seed)
        noise = torch.randn(n, 120, generator=torch.Generator().manual_seed(seed + 10), dtype=torch.float64)
        return torch.cat([z, noise], 1), y

    (z, y), (test_z, test_y) = wide(125, 0), wide(1000, 1)
    chosen = ridge_accuracy(z, y, test_z, test_y)
    assert chosen > ridge_accuracy(z, y, test_z, test_y, l2=1e-8) + 0.1  # interpolates the noise
    with pytest.raises(ValueError, match="l2"):
        ridge_accuracy(z, y, test_z, test_y, l2=0.0)


# -- kNN ------------------------------------------------------------------------------------------------------


def test_knn_equals_the_vote_written_out() -> None:
    (z, y), (test_z, test_y) = blobs(60), blobs(40, seed=1)
    correct = 0
    for row, label in zip(test_z, test_y, strict=True):
        cosines = [float(row @ other / row.norm() / other.norm()) for other in z]
        nearest = sorted(range(len(z)), key=lambda j: -cosines[j])[:7]
        votes = [sum(math.exp(cosines[j] / 0.1) for j in nearest if y[j] == c) for c in range(3)]
        correct += int(np.argmax(votes)) == int(label)
    assert knn_accuracy(z, y, test_z, test_y, k=7, temperature=0.1, chunk=16) == correct / 40


def test_knn_settings_are_checked() -> None:
    z, y = blobs(10)
    with pytest.raises(ValueError, match=r"k = 20.*10"):
        knn_accuracy(z, y, z, y)
    with pytest.raises(ValueError, match="temperature"):
        knn_accuracy(z, y, z, y, k=3, temperature=0.0)
    assert knn_accuracy(z, y, z, y, k=1, temperature=1e-4) == 1.0  # no overflow


# -- online ---------------------------------------------------------------------------------------------------


def test_the_online_probe_learns_and_sends_nothing_back() -> None:
    z, y = blobs(200, spread=0.1)
    h = z.float().requires_grad_()
    before = torch.get_rng_state()
    probe = OnlineProbe(5, 3, lr=0.1)
    assert torch.equal(torch.get_rng_state(), before)
    first = probe.update(h, y)
    for _ in range(60):
        last = probe.update(h, y)
    assert h.grad is None
    assert not last.requires_grad
    assert float(last) < float(first) / 5
    assert probe.accuracy(h, y) == 1.0


def test_the_online_probe_is_its_seed_and_works_without_gradients() -> None:
    assert torch.equal(OnlineProbe(4, 2, seed=1).linear.weight, OnlineProbe(4, 2, seed=1).linear.weight)
    assert not torch.equal(OnlineProbe(4, 2, seed=1).linear.weight, OnlineProbe(4, 2, seed=2).linear.weight)
    probe = OnlineProbe(4, 2)
    weight = probe.linear.weight.detach().clone()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        loss = probe.update(torch.ones(6, 4, dtype=torch.bfloat16), torch.tensor([0, 1] * 3))
    assert loss.dtype == torch.float32
    assert not torch.equal(probe.linear.weight, weight)
