"""Readouts that say how they were scored: SGD, low-shot, and the protocol of each number."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from estimators import parse
from estimators._samples import stream
from infossl.readouts import (
    READOUTS,
    KNNReadout,
    LowShot,
    OnlineProbe,
    RidgeReadout,
    SGDReadout,
    accuracy_of,
    few_of_each,
    knn_accuracy,
    ridge_accuracy,
    softmax_weights,
)

QUICK = SGDReadout(epochs=30, batch_size=64)
ALL = [RidgeReadout(), RidgeReadout(l2=0.01), KNNReadout(k=5), QUICK, LowShot(draws=4)]


def blobs(n: int, d: int = 5, classes: int = 3, spread: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian clouds around the same centres for every seed."""
    centres = 2 * torch.randn(classes, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=generator)
    return centres[y] + spread * torch.randn(n, d, generator=generator, dtype=torch.float64), y


def labels_moved(z: Tensor, y: Tensor) -> Tensor:
    return torch.randint(3, y.shape, generator=torch.Generator().manual_seed(5))


# -- every readout --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readout", ALL, ids=repr)
def test_separable_classes_are_read_and_random_labels_are_not(readout) -> None:
    (z, y), (test_z, test_y) = blobs(300, spread=0.1), blobs(200, spread=0.1, seed=1)
    assert readout(z, y, test_z, test_y).value == 1.0
    random = readout(z, labels_moved(z, y), test_z, labels_moved(test_z, test_y))
    assert abs(random.value - 1 / 3) <= 4 * math.sqrt(2 / 9 / 200)


@pytest.mark.parametrize("readout", ALL, ids=repr)
def test_shift_scale_and_names_of_classes_change_nothing(readout) -> None:
    (z, y), (test_z, test_y) = blobs(300), blobs(200, seed=1)
    base = readout(z, y, test_z, test_y)
    assert 0.5 < base.value < 1
    names = torch.tensor([-3, 12, 70])
    assert readout(1000 * z, names[y], 1000 * test_z, names[test_y]).value == base.value
    if not isinstance(readout, KNNReadout):  # a cosine sees the origin
        assert readout(z + 7, y, test_z + 7, test_y).value == base.value
    assert readout(z.numpy(), y.numpy(), test_z.numpy(), test_y.numpy()) == base


@pytest.mark.parametrize("readout", ALL, ids=repr)
def test_the_test_labels_decide_nothing_but_the_score(readout) -> None:
    (z, y), (test_z, test_y) = blobs(120), blobs(90, seed=1)
    whole = readout(z, y, test_z, test_y)
    parts = [readout(z, y, test_z[part], test_y[part]) for part in (slice(30), slice(30, 90))]
    # Each sample is predicted alike whatever else is scored beside it.
    assert (parts[0].value * 30 + parts[1].value * 60) / 90 == pytest.approx(whole.value, abs=1e-12)


@pytest.mark.parametrize("readout", ALL, ids=repr)
def test_a_collapsed_representation_reads_as_one_class(readout) -> None:
    y = torch.tensor([0] * 30 + [1] * 10)
    constant = torch.ones(40, 4)
    result = readout(constant, y, constant, y)
    assert result.value in ({0.75, 0.25} if not isinstance(readout, LowShot) else {0.25, 0.5, 0.75})
    assert result.null == 0.75


@pytest.mark.parametrize("readout", ALL, ids=repr)
def test_bad_input_is_refused_with_the_mend(readout) -> None:
    z, y = blobs(40)
    with pytest.raises(ValueError, match=r"train_z has shape \(40, 5\) and train_y \(39,\)"):
        readout(z, y[:-1], z, y)
    with pytest.raises(TypeError, match=r"test_y.*long"):
        readout(z, y, z, y.double())
    with pytest.raises(ValueError, match=r"test_z.*NaN"):
        readout(z, y, torch.full_like(z, math.nan), y)


@pytest.mark.parametrize("readout", ALL, ids=repr)
def test_random_streams_stay_where_they_were_and_answers_repeat(readout) -> None:
    (z, y), (test_z, test_y) = blobs(60), blobs(60, seed=1)
    before = torch.get_rng_state()
    assert readout(z, y, test_z, test_y) == readout(z, y, test_z, test_y)
    assert torch.equal(torch.get_rng_state(), before)
    assert parse(repr(readout), READOUTS) == readout


# -- the number and its protocol ------------------------------------------------------------------------------


def test_the_protocol_says_what_was_done() -> None:
    (z, y), (test_z, test_y) = blobs(100), blobs(70, seed=1)
    ends = "fitted on train (n=100), scored once on test (n=70)"
    ridge = RidgeReadout()(z, y, test_z, test_y)
    assert ridge.protocol.startswith("ridge on one-hot labels, penalty chosen by leave-one-out on train, ")
    assert ridge.protocol.endswith(ends)
    assert KNNReadout(k=7, temperature=0.1)(z, y, test_z, test_y).protocol == (
        f"cosine kNN, k = 7, votes exp(cos / 0.1), {ends}"
    )
    sgd = QUICK(z, y, test_z, test_y).protocol
    assert "SGD of 30 epochs in batches of 64, momentum 0.9, cosine to 0, last step counts" in sgd
    assert "chosen on 20 of the training samples" in sgd
    assert sgd.endswith(ends)
    low = LowShot(shots=2, draws=3)(z, y, test_z, test_y)
    assert (
        "fitted on 2 labels of each class (n=6), mean of 3 draws from train (n=100), sd over draws"
        in low.protocol
    )
    assert f"{ridge.value:.3f} ± {ridge.stderr:.3f}" in str(ridge)
    assert ridge.protocol in str(ridge)
    assert float(ridge) == ridge_accuracy(z, y, test_z, test_y)
    assert float(KNNReadout(k=5)(z, y, test_z, test_y)) == knn_accuracy(z, y, test_z, test_y, k=5)
    online = OnlineProbe(5, 3, lr=0.02)
    online.update(z.float(), y)
    assert online.score(test_z.float(), test_y).protocol == (
        "online linear probe, Adam with lr 0.02 for 1 steps beside the training of the model, last step counts, "
        "scored on test (n=70)"
    )


@pytest.mark.parametrize(("right", "n"), [(0, 10), (7, 10), (10, 10), (500, 1000)])
def test_the_standard_error_is_that_of_the_posterior(right: int, n: int) -> None:
    y = torch.arange(n) % 2
    predicted = torch.where(torch.arange(n) < right, y, 1 - y)
    accuracy = accuracy_of(predicted, y, "")
    a, b = right + 0.5, n - right + 0.5
    assert accuracy.stderr == pytest.approx(math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1))), rel=1e-12)
    assert accuracy.value == right / n
    assert accuracy.null == 0.5


# -- SGD ------------------------------------------------------------------------------------------------------


def test_one_full_step_from_zero_is_the_difference_of_class_sums() -> None:
    z, y = blobs(50)
    weights, offset = softmax_weights(z, y, 3, lr=0.3, weight_decay=0.0, epochs=1, batch_size=50)
    targets = torch.nn.functional.one_hot(y, 3).double()
    torch.testing.assert_close(weights, 0.3 * z.T @ (targets - 1 / 3) / 50)
    torch.testing.assert_close(offset, 0.3 * (targets - 1 / 3).mean(0))


def test_the_schedule_and_the_momentum_are_the_stated_ones() -> None:
    z, y = blobs(40)
    weights, offset = softmax_weights(z, y, 3, lr=0.5, weight_decay=0.01, epochs=3, batch_size=40)
    w = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    peer = torch.optim.SGD([{"params": [w], "weight_decay": 0.01}, {"params": [b]}], lr=0.5, momentum=0.9)
    for step in range(3):
        for group in peer.param_groups:
            group["lr"] = 0.25 * (1 + math.cos(math.pi * step / 3))
        peer.zero_grad()
        torch.nn.functional.cross_entropy(z @ w + b, y).backward()
        peer.step()
    torch.testing.assert_close(weights, w.detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(offset, b.detach(), rtol=1e-9, atol=1e-12)


def test_it_converges_to_regularised_softmax_regression() -> None:
    z, y = blobs(80)
    weights, offset = softmax_weights(z, y, 3, lr=0.3, weight_decay=0.05, epochs=3000, batch_size=80)
    peer = LogisticRegression(C=1 / (80 * 0.05), tol=1e-10, max_iter=2000).fit(z.numpy(), y.numpy())
    np.testing.assert_allclose(weights.numpy(), peer.coef_.T, atol=1e-5)
    # The offset has no penalty: only differences matter.
    found, expected = offset.numpy(), peer.intercept_
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-4)


def test_the_chosen_settings_have_the_least_loss_on_the_samples_kept_out() -> None:
    z, y = blobs(100, d=12, spread=3)
    readout = SGDReadout(epochs=40, lrs=(0.01, 0.3), weight_decays=(1e-3, 0.1, 1.0))
    order = stream(0, "SGDReadout validation").permutation(100)
    held, rest = order[:20], order[20:]
    mean, sd = z[rest].mean(0), z[rest].std(0, correction=0)
    losses = {}
    for lr in readout.lrs:
        for decay in readout.weight_decays:
            weights, offset = softmax_weights(
                (z[rest] - mean) / sd, y[rest], 3, lr=lr, weight_decay=decay, epochs=40, batch_size=256
            )
            scores = ((z[held] - mean) / sd) @ weights + offset
            losses[lr, decay] = float(torch.nn.functional.cross_entropy(scores, y[held]))
    lr, decay = min(losses, key=losses.__getitem__)
    assert max(losses.values()) > 1.05 * losses[lr, decay]
    protocol = readout(z, y, z, y).protocol
    assert f"lr {lr:g} and weight decay {decay:g} chosen on 20 of the training samples" in protocol
    fixed = SGDReadout(epochs=40, lrs=(lr,), weight_decays=(decay,))
    assert torch.equal(readout.predict(z, y, z)[0], fixed.predict(z, y, z)[0])
    assert "chosen" not in fixed(z, y, z, y).protocol


def test_scale_of_single_features_does_not_matter_and_constant_ones_are_left_out() -> None:
    (z, y), (test_z, test_y) = blobs(120), blobs(90, seed=1)
    base = QUICK(z, y, test_z, test_y).value
    scales = torch.tensor([1e-6, 1.0, 1e6, -3.0, 10.0], dtype=torch.float64)
    assert QUICK(z * scales, y, test_z * scales, test_y).value == base
    more = [torch.cat([part, torch.full((len(part), 1), 0.1)], 1) for part in (z, test_z)]
    assert QUICK(more[0], y, more[1], test_y).value == base


def test_sgd_settings_are_checked() -> None:
    for bad in (
        {"epochs": 0},
        {"batch_size": 0},
        {"lrs": ()},
        {"lrs": (0.0,)},
        {"weight_decays": (-1.0,)},
        {"momentum": 1.0},
        {"validation": 1.0},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            SGDReadout(**bad)
    z, y = blobs(40)
    with pytest.raises(ValueError, match="diverged"):
        SGDReadout(lrs=(1e3,), weight_decays=(1e3,))(z, y, z, y)
    assert QUICK(*blobs(40), *blobs(40)).value > 0.5  # the grid leaves out what diverges


# -- low-shot -------------------------------------------------------------------------------------------------


def test_draws_take_as_many_of_each_class_and_follow_the_seed() -> None:
    _, y = blobs(90)
    rows = few_of_each(y, 4, 6, seed=3)
    assert rows.shape == (6, 12)
    assert all(y[draw].bincount().tolist() == [4, 4, 4] for draw in rows)
    assert all(len(set(draw.tolist())) == 12 for draw in rows)
    assert len({tuple(draw.tolist()) for draw in rows}) == 6
    assert torch.equal(rows, few_of_each(y, 4, 6, seed=3))
    assert torch.equal(rows[:2], few_of_each(y, 4, 2, seed=3))
    assert not torch.equal(rows, few_of_each(y, 4, 6, seed=4))


def test_low_shot_is_the_mean_over_draws_written_out() -> None:
    (z, y), (test_z, test_y) = blobs(90, spread=2), blobs(50, spread=2, seed=1)
    inner = KNNReadout(k=1)
    found = LowShot(inner, shots=2, draws=5, seed=1)(z, y, test_z, test_y)
    right = np.zeros((5, 50))
    for r, rows in enumerate(few_of_each(y, 2, 5, seed=1).tolist()):
        for j in range(50):
            cosines = [float(test_z[j] @ z[i] / test_z[j].norm() / z[i].norm()) for i in rows]
            right[r, j] = int(y[rows[int(np.argmax(cosines))]]) == int(test_y[j])
    assert found.value == pytest.approx(right.mean(), abs=1e-12)
    assert found.sd == pytest.approx(right.mean(1).std(ddof=1), abs=1e-12)
    variance = right.mean(1).var(ddof=1) / 5 + right.mean(0).var(ddof=1) / 50
    assert found.stderr == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_all_labels_are_the_readout_itself() -> None:
    z, y = blobs(90)
    fewest = int(y.bincount().min())
    keep = torch.cat([torch.nonzero(y == c)[:fewest, 0] for c in range(3)])
    test_z, test_y = blobs(70, seed=1)
    whole = LowShot(RidgeReadout(l2=0.1), shots=fewest, draws=3)(z[keep], y[keep], test_z, test_y)
    assert whole.value == ridge_accuracy(z[keep], y[keep], test_z, test_y, l2=0.1)
    assert whole.sd == pytest.approx(0, abs=1e-12)


def test_low_shot_refuses_what_cannot_be() -> None:
    z, y = blobs(30)
    with pytest.raises(ValueError, match=r"shots = 20.*rarest class"):
        LowShot(shots=20)(z, y, z, y)
    with pytest.raises(ValueError, match="one class"):
        LowShot(shots=2)(z, torch.zeros_like(y), z, y)
    with pytest.raises(ValueError, match="draws = 1"):
        LowShot(draws=1)
    with pytest.raises(ValueError, match="shots = 0"):
        LowShot(shots=0)
