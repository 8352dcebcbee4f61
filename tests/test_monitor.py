"""`watch`: it measures what it says, and the training never notices."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import infossl
from estimators import Estimate
from infossl.monitor import watch
from infossl.probe_set import ProbeSet
from infossl.quantities import LIGHT, RankMe, ViewInformation
from infossl.recording import at, every
from infossl.trajectory import Trajectory
from infossl.undisturbed import undisturbed


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.3)
        )
        self.projector = nn.Linear(8, 4)

    def forward(self, x):
        return self.projector(self.backbone(x))


def jitter(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return x + 0.1 * torch.randn(x.shape, generator=generator)


def probe(n: int = 120, labels: bool = True, views: bool = True, held_out: bool = False) -> ProbeSet:
    generator = torch.Generator().manual_seed(5)
    y = torch.randint(0, 3, (n,), generator=generator)
    x = torch.randn(n, 6, generator=generator)
    x[:, 0] += 3 * y
    return ProbeSet.of(
        x,
        y=y if labels else None,
        augment=jitter if views else None,
        held_out=torch.arange(n) % 3 == 0 if held_out else None,
    )


def train(monitor_options: dict | None) -> tuple[dict, list, Trajectory | None]:
    """A small loop that draws from every random stream; returns weights, the streams' next draws, the rows."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global stream is what must stay untouched
    random.seed(1)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, **monitor_options) if monitor_options else None
    if monitor:
        monitor.step(0)
    for _ in range(12):
        x = torch.randn(32, 6) + float(np.random.rand()) + random.random()  # noqa: NPY002
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        if monitor:
            monitor.step()
    draws = [torch.rand(1).item(), np.random.rand(), random.random()]  # noqa: NPY002
    state = {**model.state_dict(), **{f"grad {k}": p.grad for k, p in model.named_parameters()}}
    flags = [m.training for m in model.modules()]
    hooks = [len(m._forward_hooks) for m in model.modules()]
    return state, [*draws, flags, hooks], None if monitor is None else monitor.trajectory


def noisy_measure(activations) -> float:
    """A measure with the worst manners: it draws from every global stream."""
    torch.manual_seed(99)
    return float(np.random.rand() + random.random() + torch.rand(1))  # noqa: NPY002


@pytest.mark.parametrize("measure", ["light", [noisy_measure]])
def test_training_is_bit_identical_with_and_without(measure):
    state, streams, _ = train(None)
    watched, watched_streams, rows = train({"probe": probe(), "measure": measure, "when": every(3)})
    assert state.keys() == watched.keys()
    assert all(torch.equal(state[k], watched[k]) for k in state)
    assert streams == watched_streams
    assert {r.step for r in rows} == {0, 3, 6, 9, 12}


def test_the_guard_above_can_fail():
    """The same loop with a monitor that forgets eval mode moves the running statistics and the streams."""
    state, streams, _ = train(None)

    def careless(activations):
        return 0.0

    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    model = Net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        model(probe().x)
    assert any(not torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.rand(1).item() != streams[0]
    assert state


def test_light_rows_say_where_they_come_from():
    rows = train(
        {"probe": probe(held_out=True), "layers": {"h": "backbone", "z": "projector"}, "when": at((0, 12))}
    )[2]
    assert not [r.error for r in rows if r.error]
    assert {r.role for r in rows} == {"h", "z", "x"}
    assert {r.split for r in rows} == {"held-out"}
    assert {r.n for r in rows if r.role == "h" and "dead-rows" not in r.flags} == {40}
    for r in rows.select(quantity="I(X;Z)"):
        assert r.channel == "GaussianChannel(sigma=0.25, relative=True)"
        assert r.ceiling == pytest.approx(np.log(40))
        assert r.interval is not None
    assert {r.channel for r in rows.select(quantity="I(Z;Z')")} == {"Augmentation()"}
    assert {r.quantity for r in rows.select(role="x")} == {"I(Z;Y)", "accuracy(linear)", "accuracy(kNN)"}
    assert {r.step for r in rows.select(role="x")} == {0}
    assert all(
        "null_mean" in r.diagnostics for r in rows.select(quantity=("I(Z;Y)", "I(X;Z)", "accuracy(linear)"))
    )


def test_measurements_repeat_exactly():
    a, b = (train({"probe": probe(), "when": at((12,))})[2] for _ in range(2))
    strip = [[{**r.to_pandas().drop(columns="seconds").to_dict()} for r in [t]] for t in (a, b)]
    assert str(strip[0]) == str(strip[1])


def test_a_measure_that_raises_becomes_an_error_row(caplog):
    def broken(activations):
        raise ZeroDivisionError("by design")

    rows = train(
        {"probe": probe(), "measure": [broken, RankMe()], "layers": ["projector"], "when": at((12,))}
    )[2]
    failed, fine = rows.rows
    assert (failed.error, failed.value, failed.quantity) == ("ZeroDivisionError: by design", None, "broken")
    assert fine.value is not None
    assert "by design" in caplog.text


def test_users_own_measures_return_numbers_or_estimates():
    def spread(activations):
        return activations.z.std()

    def counted(activations):
        return Estimate(value=1.0, quantity="count", unit="1", n=activations.n, method="counted")

    rows = train(
        {"probe": probe(views=False), "measure": [spread, counted], "layers": ["projector"], "when": at((1,))}
    )[2]
    assert [(r.quantity, r.unit) for r in rows] == [("spread", "1"), ("count", "1")]


def test_a_preset_leaves_out_what_the_probe_cannot_serve_and_a_list_is_refused():
    monitor = watch(Net(), probe=probe(labels=False, views=False), measure="light")
    assert {need for m in monitor.measures for need in m.needs} == set()
    assert 0 < len(monitor.measures) < len(LIGHT)
    with pytest.raises(ValueError, match=r"needs views.*augment"):
        watch(Net(), probe=probe(views=False), measure=[ViewInformation()])


def test_unknown_layers_are_refused_before_training():
    with pytest.raises(ValueError, match=r"near matches: projector"):
        watch(Net(), probe=probe(), layers={"z": "projecter"})


def test_what_cannot_be_recorded_is_said_before_training():
    class Twice(Net):
        def forward(self, x):
            return self.projector(self.backbone(x)) + self.projector(self.backbone(-x))

    with pytest.raises(RuntimeError, match="called 2 times"):
        watch(Twice(), probe=probe(), layers=["projector"])
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        watch(Net(), probe=torch.randn(20, 5))


def test_a_probe_pass_that_fails_later_is_an_error_row_and_training_goes_on(caplog):
    model = Net()
    monitor = watch(model, probe=probe(), layers=["projector"], measure=[RankMe()], when=every(1))
    model.projector = torch.nn.Linear(7, 4)  # the user breaks the model after attaching
    monitor.step()
    (row,) = monitor.trajectory.rows
    assert row.value is None
    assert "shapes" in row.error
    assert "probe pass failed" in caplog.text


def test_auto_layers_skip_what_returns_no_tensor():
    class Dict(Net):
        def forward(self, x):
            return {"z": super().forward(x)}

    assert [tap.layer for tap in watch(Dict(), probe=probe()).taps] == ["backbone", "projector"]

    class Nothing(nn.Module):
        def forward(self, x):
            return (x,)

    with pytest.raises(ValueError, match="name them"):
        watch(Nothing(), probe=probe())


@pytest.mark.parametrize(
    "made", [np.random.default_rng(0).standard_normal((40, 6)), torch.randn(40, 6).half()]
)
def test_a_probe_of_another_precision_is_cast_to_the_models(made):
    monitor = watch(Net(), probe=made, measure=[RankMe()], layers=["projector"])
    monitor.step(0)
    assert monitor.trajectory.rows[0].error is None


def test_buffers_that_move_in_eval_mode_are_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 3)
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("replaced", torch.zeros(2))

        def forward(self, x):
            self.calls += 1
            self.replaced = self.replaced + 1
            return self.linear(x)

    model = Counting()
    before = model.replaced
    watch(model, probe=probe(), measure=[RankMe()], layers=["linear"]).step(0)
    assert model.calls == 0
    assert model.replaced is before
    assert torch.equal(before, torch.zeros(2))


def test_a_shuffling_loader_as_probe_leaves_the_streams_alone():
    dataset = torch.utils.data.TensorDataset(torch.randn(64, 6))
    torch.manual_seed(3)
    watch(
        Net(), probe=torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True), when=lambda step: False
    )
    # `Net()` draws its weights; the same draws without watching:
    after = torch.rand(2)
    torch.manual_seed(3)
    Net()
    assert torch.equal(after, torch.rand(2))


def test_a_measure_cannot_change_what_the_next_one_sees():
    def vandal(activations):
        activations.z[:] = 0
        return 0.0

    rows = train(
        {"probe": probe(), "measure": [vandal, RankMe()], "layers": ["projector"], "when": at((1,))}
    )[2]
    assert "read-only" in rows.rows[0].error
    assert rows.rows[1].value > 1


def test_disagreeing_estimates_are_flagged():
    def claim(value, bound="none", method="a"):
        def measure(activations):
            return Estimate(value=value, quantity="I(Z;Z')", n=9, method=method, bound=bound, stderr=0.1)

        return measure

    def flags(*measures):
        rows = train(
            {"probe": probe(), "measure": list(measures), "layers": ["projector"], "when": at((1,))}
        )[2]
        return [r.flags for r in rows]

    assert flags(claim(2.0), claim(9.0, method="b")) == [("disagreement",)] * 2
    assert flags(claim(2.0), claim(2.9, method="b")) == [(), ()]
    assert flags(claim(2.0, "lower"), claim(9.0, method="b")) == [
        (),
        (),
    ]  # a lower bound below is no contradiction
    assert flags(claim(9.0, "lower"), claim(2.0, method="b")) == [("disagreement",)] * 2


def test_text_names_measures_and_schedules():
    monitor = watch(
        Net(), probe=probe(), measure=["RankMe()", "ViewInformation(Gaussian())"], when="every(5)"
    )
    assert monitor.measures == (RankMe(), ViewInformation())
    assert monitor.when == every(5)
    with pytest.raises(ValueError, match="did you mean RankMe"):
        watch(Net(), probe=probe(), measure=["RankMee()"])


def test_out_is_appended_and_never_overwritten(tmp_path):
    options = {"probe": probe(), "measure": [RankMe()], "layers": ["projector"], "when": every(1)}
    model = Net()
    with watch(model, out=tmp_path / "a", **options) as monitor:
        monitor.step()
    with pytest.raises(FileExistsError, match="resume=step"):
        watch(model, out=tmp_path / "a", **options)
    with watch(model, out=tmp_path / "a", resume=True, **options) as monitor:
        monitor.step()
    loaded = Trajectory.load(tmp_path / "a")
    assert [r.step for r in loaded] == [0, 1, 2]
    assert {r.run for r in loaded} == {"a"}
    with open(tmp_path / "a" / "trajectory.jsonl", "a") as file:
        file.write('{"torn')  # killed while writing: the last step is not whole
    assert {r.step for r in watch(model, out=tmp_path / "a", resume=True, **options).trajectory} == {0, 1}
    assert {r.step for r in watch(model, out=tmp_path / "a", resume=0, **options).trajectory} == {0}
    assert [r.step for r in Trajectory.load(tmp_path / "a")] == [0]


def test_a_with_block_measures_the_first_and_the_last_step_even_off_schedule():
    with watch(Net(), probe=probe(), measure=[RankMe()], layers=["projector"], when=at((0,))) as monitor:
        for _ in range(5):
            monitor.step()
    assert [r.step for r in monitor.trajectory] == [0, 5]


def test_overhead_counts_seconds_and_survives_a_resume():
    monitor = watch(Net(), probe=probe(), when=every(1))
    monitor.step(0)
    cost = monitor.overhead()
    assert 0 < cost.forward_seconds < cost.seconds <= cost.watched_seconds
    assert sum(cost.by_quantity.values()) <= cost.seconds
    again = watch(Net(), probe=probe(), when=every(1))
    again.load_state_dict(monitor.state_dict())
    assert again.overhead().seconds == monitor.overhead().seconds
    assert "of training time" in str(cost)


def test_compiled_models_are_watched_through_the_eager_one():
    model = Net()
    compiled = torch.compile(model, backend="eager")
    compiled(torch.ones(4, 6))
    monitor = watch(compiled, probe=probe(), measure=[RankMe()], layers=["projector"])
    monitor.step(0)
    assert monitor.trajectory.rows[0].error is None
    torch._dynamo.reset()


def test_undisturbed_restores_each_modules_own_flag():
    model = Net()
    model.backbone[1].eval()
    flags = [m.training for m in model.modules()]
    with undisturbed(model):
        assert not any(m.training for m in model.modules())
        assert not torch.is_grad_enabled()
    assert [m.training for m in model.modules()] == flags


def test_watch_is_public():
    assert infossl.watch is watch


# -- probe sets ----------------------------------------------------------------------------------------------


def test_probe_sets_from_arrays_data_sets_and_loaders_agree():
    x, y = torch.randn(50, 4), torch.arange(50) % 5
    dataset = torch.utils.data.TensorDataset(x, y)
    loader = torch.utils.data.DataLoader(dataset, batch_size=7)
    sets = [
        ProbeSet.of(s, augment=jitter, **o)
        for s, o in ((x, {"y": y}), (x.numpy(), {"y": y.numpy()}), (dataset, {}), (loader, {}))
    ]
    assert len({s.content_hash for s in sets}) == 1
    assert ProbeSet.of(sets[0]) is sets[0]
    assert sets[0].views.shape == (50, 2, 4)
    assert ProbeSet.of(loader, limit=10).x.shape == (10, 4)
    assert ProbeSet.of(x, augment=jitter, seed=9).content_hash != sets[0].content_hash


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ProbeSet.of(3), TypeError, "ProbeSet, an array"),
        (lambda: ProbeSet.of(torch.zeros(4, 2), y=np.array([0.1, 0.9, 0.5, 0.2])), TypeError, "integers"),
        (lambda: ProbeSet.of(torch.zeros(4, 2), y=np.zeros(40, int)), ValueError, "same n"),
        (lambda: ProbeSet.of([torch.zeros(4, 2)], y=np.zeros(4, int)), ValueError, "y is for arrays"),
        (lambda: ProbeSet.of([{"image": torch.zeros(4, 2)}]), TypeError, r"a dict with keys \['image'\]"),
        (lambda: ProbeSet.of(np.ma.masked_equal(np.eye(4), 0)), TypeError, "masked"),
        (lambda: ProbeSet.of([]), ValueError, "empty"),
        (lambda: ProbeSet(x=torch.zeros(1, 2)), ValueError, "at least 2"),
        (lambda: ProbeSet(x=torch.zeros(4, 2), y=torch.zeros(3).long()), ValueError, r"\(3,\).*\(4, 2\)"),
        (lambda: ProbeSet(x=torch.zeros(4, 2), y=torch.zeros(4)), ValueError, "integers"),
        (lambda: ProbeSet(x=torch.zeros(4, 2), views=torch.zeros(4, 2)), ValueError, r"\(n, q, ...\)"),
    ],
)
def test_bad_probe_sets(make, error, message):
    with pytest.raises(error, match=message):
        make()
