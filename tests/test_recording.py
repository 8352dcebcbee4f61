"""Hooks, pools, schedules: what is recorded is what ran, and nothing stays behind."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from infossl.recording import Tap, at, every, log_spaced, record, taps_of


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1) for _ in range(3)])
        self.act = nn.ReLU(inplace=True)
        self.unused = nn.Linear(2, 2)
        self.pair = Pair()

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = self.act(block(x))
        return self.pair(x.flatten(1))


class Pair(nn.Module):
    def forward(self, x):
        return {"mean": x.mean(1, keepdim=True), "all": x}


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


X = torch.linspace(-1, 1, 5 * 36).reshape(5, 1, 6, 6)


def test_records_each_call_pooled_and_detached(net):
    with record(net, {"h": "blocks.0", "s": "stem"}) as activations:
        net(X)
        net(2 * X)
    assert [tuple(a.shape) for a in activations["blocks.0"]] == [(5, 4), (5, 4)]
    assert not activations["stem"][0].requires_grad
    torch.testing.assert_close(activations["stem"][0], net.stem(X).flatten(2).mean(2).detach())
    torch.testing.assert_close(activations["stem"][1], net.stem(2 * X).flatten(2).mean(2).detach())
    assert activations.pools == {"blocks.0": "gap", "stem": "gap"}
    assert hooks(net) == 0


def test_an_in_place_activation_does_not_reach_the_copy(net):
    with record(net, [Tap("blocks.0", pool="flatten")]) as activations:
        net(X)
    assert activations["blocks.0"][0].min() < 0  # the in-place ReLU that follows would have made it 0
    torch.testing.assert_close(activations["blocks.0"][0], net.blocks[0](net.stem(X)).flatten(1).detach())


def test_recording_does_not_change_the_output(net):
    plain = net(X)["all"]
    with record(net, "blocks.*") as activations:
        inside = net(X)["all"]
    assert torch.equal(plain, inside)
    assert list(activations) == ["blocks.0", "blocks.1", "blocks.2"]


def test_unknown_layers_list_near_matches_before_anything_runs(net):
    with (
        pytest.raises(ValueError, match=r"'block.0' is not in Net; near matches: blocks\.0"),
        record(net, ["block.0"]),
    ):
        raise AssertionError("not reached")
    with pytest.raises(ValueError, match="more than once"):
        taps_of(net, ["blocks.0", "blocks.*"])
    with pytest.raises(ValueError, match="at least one"):
        taps_of(net, [])


def test_a_layer_that_never_fires_is_an_error(net):
    with pytest.raises(RuntimeError, match=r"\['unused'\] never fired"), record(net, ["unused", "stem"]):
        net(X)
    with pytest.raises(RuntimeError, match="never fired"), record(net.stem, [""]):
        net.stem.forward(X)  # bypasses hooks
    assert hooks(net) == 0


def test_hooks_are_removed_when_the_block_raises(net):
    with pytest.raises(KeyError), record(net, ["stem"]):
        raise KeyError("the user's own")
    assert hooks(net) == 0


def test_nested_recordings_remove_only_their_own(net):
    with record(net, ["stem"]) as outer:
        with record(net, ["stem"]) as inner:
            net(X)
        net(X)
    assert (len(inner["stem"]), len(outer["stem"])) == (1, 2)


def test_the_model_pickles_after_recording(net):
    with record(net, ["stem"]):
        net(X)
    copy = pickle.loads(pickle.dumps(net))
    assert torch.equal(copy(X)["all"], net(X)["all"])


def test_tuples_and_dicts_need_a_selector(net):
    with (
        pytest.raises(TypeError, match=r"a dict with keys \['all', 'mean'\].*Tap\('pair', select=...\)"),
        record(net, ["pair"]),
    ):
        net(X)
    with record(net, [Tap("pair", select="mean")]) as activations:
        net(X)
    assert tuple(activations["pair"][0].shape) == (5, 1)


@pytest.mark.parametrize(
    ("pool", "shape", "expected"),
    [
        ("flatten", (2, 3, 4), (2, 12)),
        ("gap", (2, 3, 4, 4), (2, 3)),
        ("mean_tokens", (2, 7, 3), (2, 3)),
        ("cls", (2, 7, 3), (2, 3)),
        ("auto", (2, 3), (2, 3)),
        ("auto", (2, 7, 3), (2, 3)),
        ("auto", (2, 3, 4, 4), (2, 3)),
        (lambda t: t.amax((2, 3)), (2, 3, 4, 4), (2, 3)),
    ],
)
def test_pools(pool, shape, expected):
    model = nn.Identity()
    with record(model, [Tap("", pool=pool)]) as activations:
        model(torch.rand(shape))
    assert tuple(activations[""][0].shape) == expected


def test_pools_compute_means_and_first_tokens():
    tokens = torch.rand(2, 5, 3)
    for pool, expected in (("mean_tokens", tokens.mean(1)), ("cls", tokens[:, 0])):
        model = nn.Identity()
        with record(model, [Tap("", pool=pool)]) as activations:
            model(tokens)
        assert torch.equal(activations[""][0], expected)


@pytest.mark.parametrize(
    ("pool", "shape", "message"),
    [
        ("gap", (2, 3), "needs an output"),
        ("cls", (2, 3), "needs tokens"),
        ("mean", (2, 3), "unknown pool 'mean'"),
        (lambda t: t.sum(), (2, 3), "one row per sample"),
    ],
)
def test_a_pool_that_does_not_fit_is_an_error(pool, shape, message):
    model = nn.Identity()
    with pytest.raises(ValueError, match=message), record(model, [Tap("", pool=pool)]):
        model(torch.rand(shape))


def test_a_hook_added_after_compiling_is_not_silent():
    model = nn.Sequential(nn.Linear(3, 2))
    compiled = torch.compile(model, backend="eager")
    compiled(torch.ones(1, 3))
    with pytest.raises(RuntimeError, match="never fired"), record(model, ["0"]):
        compiled(torch.ones(1, 3))
    torch._dynamo.reset()


# -- schedules -----------------------------------------------------------------------------------------------


def test_schedules():
    assert [s for s in range(11) if every(5)(s)] == [0, 5, 10]
    assert [s for s in range(11) if at((2, 3))(s)] == [2, 3]
    assert [s for s in range(1001) if log_spaced(1)(s)] == [0, 1, 10, 100, 1000]
    with pytest.raises(ValueError, match="at least 1"):
        every(0)
    with pytest.raises(ValueError, match="at least 1"):
        log_spaced(0)
    with pytest.raises(ValueError, match="negative"):
        log_spaced(2, last=-1)


@pytest.mark.parametrize("per_decade", [1, 3, 4, 10])
def test_log_spaced_is_the_rounded_geometric_grid(per_decade):
    grid = {0} | {round(10 ** (k / per_decade)) for k in range(4 * per_decade)}
    assert [s for s in range(2000) if log_spaced(per_decade)(s)] == sorted(s for s in grid if s < 2000)


@pytest.mark.parametrize("last", [0, 1, 10, 99, 2000])
def test_log_spaced_ends_at_the_last_step(last):
    chosen = [s for s in range(3000) if log_spaced(4, last=last)(s)]
    assert chosen[0] == 0
    assert chosen[-1] == last
