"""Images in memory, data sets by name, and the loader."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from infossl.data import (
    DATA,
    DATA_SETS,
    Loader,
    SampleGenerator,
    arrays,
    data_named,
    digits,
    from_arrays,
)
from infossl.data.augment import Compose, Flip, Normalise, ToFloat
from infossl.data.in_memory import as_images
from infossl.training import FitConfig, fit
from infossl.training.loop import batch_indices

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (60, 12, 12, 3), dtype=np.uint8)
LABELS = np.arange(60) // 15


# -- arrays ---------------------------------------------------------------------------------------------------


def test_channels_are_found_or_said() -> None:
    assert as_images(BYTES).shape == (60, 3, 12, 12)
    np.testing.assert_array_equal(as_images(BYTES).numpy(), BYTES.transpose(0, 3, 1, 2))
    assert as_images(BYTES.transpose(0, 3, 1, 2)).shape == (60, 3, 12, 12)
    assert as_images(BYTES[..., 0]).shape == (60, 1, 12, 12)
    assert as_images(np.zeros((2, 3, 8, 3), np.uint8), channels="last").shape == (2, 3, 3, 8)
    for shape in ((2, 3, 8, 3), (2, 5, 8, 8)):
        with pytest.raises(ValueError, match="channels='first' or 'last'"):
            as_images(np.zeros(shape, np.uint8))


def test_bytes_stay_bytes_until_they_are_cleaned() -> None:
    data = from_arrays(BYTES, LABELS, BYTES[:20], LABELS[:20], mean=(0.5,) * 3, std=(0.25,) * 3)
    assert data.train_x.dtype == torch.uint8
    clean = data.evaluation()[0]
    torch.testing.assert_close(clean, (data.train_x.float() / 255 - 0.5) / 0.25)
    same = from_arrays(
        BYTES.astype(np.float64) / 255,
        LABELS,
        BYTES[:20] / 255,
        LABELS[:20],
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    torch.testing.assert_close(same.evaluation()[0], clean, rtol=0, atol=1e-5)
    unsaid = from_arrays(BYTES, LABELS, BYTES[:20], LABELS[:20])
    assert isinstance(unsaid.clean, Compose)
    step = unsaid.clean.steps[1]
    assert isinstance(step, Normalise)
    np.testing.assert_allclose(step.mean, BYTES.mean((0, 1, 2)) / 255, atol=5e-5)
    np.testing.assert_allclose(step.std, BYTES.std((0, 1, 2)) / 255, atol=5e-5)


def test_a_part_is_held_out_stratified_and_shuffled() -> None:
    data = from_arrays(BYTES, LABELS, train=40)
    assert np.ptp(np.bincount(data.train_y)) <= 1
    assert data.train_y.tolist() != sorted(data.train_y.tolist())
    everything = torch.cat([data.train_x, data.test_x]).flatten(1)
    assert len(torch.unique(everything, dim=0)) == 60
    assert len(from_arrays(BYTES, LABELS, train=0.5).train_x) == 30
    assert data.content_hash == from_arrays(BYTES, LABELS, train=40).content_hash
    assert data.content_hash != from_arrays(BYTES, LABELS, train=40, split_seed=1).content_hash


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((BYTES.astype(np.int64), LABELS), {}, "uint8"),
        ((BYTES.astype(np.float32), LABELS), {}, "divide by 255"),
        ((np.full((4, 8, 8), np.nan), [0, 1, 0, 1]), {}, "finite"),
        ((BYTES[0, 0], LABELS), {}, r"\(12, 3\)"),
        ((BYTES, LABELS[:-1]), {}, r"y has shape \(59,\).*60 class numbers"),
        ((BYTES, LABELS - 1), {}, "class numbers"),
        ((BYTES, LABELS * 1.0), {}, "class numbers"),
        ((BYTES, LABELS, BYTES), {}, "go together"),
        ((BYTES, LABELS, BYTES[:, :8], LABELS), {}, "images of one kind"),
        ((BYTES, LABELS), {"train": 60}, "between 1 and 59"),
        ((BYTES, LABELS), {"views": "nonsense"}, "known names"),
        ((BYTES, LABELS), {"probe_train": 0}, "probe_train = 0"),
    ],
)
def test_arrays_that_are_no_images_are_refused(arguments, settings, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        from_arrays(*arguments, **settings)


def test_files_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", x=BYTES, y=LABELS, test_x=BYTES[:20], test_y=LABELS[:20])
    data = data_named(f"Arrays(path={str(tmp_path / 'some.npz')!r}, views='VICReg')")
    assert repr(data) == "ImageData('some', train=60, test=20, images=(3, 12, 12), classes=4)"
    with pytest.raises(FileNotFoundError, match=r"numpy\.savez"):
        arrays(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", images=BYTES)
    with pytest.raises(ValueError, match="expected x and y"):
        arrays(tmp_path / "other.npz")
    np.save(tmp_path / "one.npy", BYTES)
    with pytest.raises(ValueError, match="without labels"):
        arrays(tmp_path / "one.npy")
    np.savez(tmp_path / "objects.npz", x=np.array([print], dtype=object), y=LABELS)
    with pytest.raises(ValueError, match=r"cannot be read.*allow_pickle"):
        arrays(tmp_path / "objects.npz")


def test_names_of_data_sets() -> None:
    assert set(DATA) == {"digits", "cluttered-digits"}
    assert data_named("digits").content_hash == data_named("Digits").content_hash == digits().content_hash
    assert data_named("ClutteredDigits(train=900)").name == "cluttered-digits"
    with pytest.raises(ValueError, match="did you mean CIFAR10"):
        data_named("CIFAR1O(root='x')")
    with pytest.raises(ValueError, match="names no data set"):
        data_named("Flip(p=0.5)")
    with pytest.raises(TypeError, match="cannot build Digits"):
        data_named("Digits(nonsense=1)")
    assert set(DATA_SETS) >= {"Digits", "ClutteredDigits", "Folder", "CIFAR10", "CIFAR100", "STL10", "Arrays"}


def test_the_training_loop_takes_bytes_and_views_that_differ() -> None:
    from tiny_run import tiny_method

    grey = from_arrays(BYTES[..., 0], LABELS, train=40, probe_test=8, views="BYOL")
    seen: list[tuple[Tensor, Tensor]] = []
    method = tiny_method()
    step = method.training_step
    method.training_step = lambda v1, v2: (seen.append((v1, v2)), step(v1, v2))[1]
    config = FitConfig(steps=3, batch_size=16, warmup=1, seed=5)
    assert fit(method, grey, config, progress=False).steps == 3
    for k, views in enumerate(seen):
        epoch, ids = k // 2, batch_indices(k, n=40, batch_size=16, seed=5)
        for view in (0, 1):
            torch.testing.assert_close(views[view], grey.view(ids, epoch=epoch, view=view, seed=5))
    assert not torch.allclose(seen[0][0], seen[0][1])
    assert len(grey.probe_set(q=1)) == 48
    assert len(grey.probe_set(q=1, held_out=3)) == 43


def test_views_keep_the_shape_of_the_images() -> None:
    for shape in ((8, 8), (8, 14)):
        flat = from_arrays(
            BYTES[:, : shape[0], : shape[0], 0].repeat(2, 2)[:, :, : shape[1]], LABELS, views="VICReg"
        )
        assert flat.probe_set(q=1).views.shape[2:] == flat.train_x.shape[1:] == (1, *shape)


def test_views_of_a_probe_set_do_not_depend_on_what_else_is_in_it() -> None:
    whole = from_arrays(BYTES, LABELS, train=40, views="BYOL").probe_set(q=2)
    part = from_arrays(BYTES, LABELS, train=40, views="BYOL", probe_train=10).probe_set(q=2)
    torch.testing.assert_close(part.views[:10], whole.views[:10])
    torch.testing.assert_close(part.x[:10], whole.x[:10])


# -- loader ---------------------------------------------------------------------------------------------------


class Numbered:
    """Item i is an image of value i, read slowly; notes which threads read, and how many items."""

    def __init__(self, n: int = 20, pause: float = 0.0) -> None:
        self.n, self.pause, self.read, self.threads = n, pause, [], set()

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        time.sleep(self.pause)
        self.read.append(i)
        self.threads.add(threading.get_ident())
        return torch.full((1, 2, 2), i, dtype=torch.uint8), i % 3


def tensors(n: int = 20) -> tuple[Tensor, Tensor]:
    return torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 2, 2), torch.arange(n) % 3


@pytest.mark.parametrize("source", [Numbered(), tensors()], ids=["data set", "tensors"])
def test_batches_are_those_of_the_training_loop(source) -> None:
    loader = Loader(source, 6, seed=4, workers=3)
    assert len(loader) == 3
    for epoch in (0, 1):
        batches = list(loader.epoch(epoch))
        assert len(batches) == 3
        for k, batch in enumerate(batches):
            expected = batch_indices(3 * epoch + k, n=20, batch_size=6, seed=4)
            assert torch.equal(batch.ids, expected)
            assert batch.x.dtype == torch.uint8
            assert batch.x.shape == (6, 1, 2, 2)
            assert batch.x[:, 0, 0, 0].tolist() == expected.tolist()
            assert torch.equal(batch.y, expected % 3)


def test_ranks_share_the_batches_and_see_the_same_views() -> None:
    augment = Compose((ToFloat(), Flip()))
    x, y = (
        torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        tensors()[1],
    )

    def seen(rank: int, world: int) -> dict[int, list[float]]:
        views: dict[int, list[float]] = {}
        for batch in Loader((x, y), 6, rank=rank, world=world).epoch(1):
            out = augment(batch.x, SampleGenerator(0, batch.ids, epoch=1, view=0))
            views |= dict(zip(batch.ids.tolist(), out.flatten(1).tolist(), strict=True))
        return views

    first = next(iter(Loader((x, y), 6).epoch(1))).ids
    assert torch.equal(next(iter(Loader((x, y), 6, rank=1, world=3).epoch(1))).ids, first[1::3])
    alone, ranks = seen(0, 1), [seen(rank, 3) for rank in range(3)]
    assert [len(r) for r in ranks] == [6, 6, 6]
    assert ranks[0] | ranks[1] | ranks[2] == alone


def test_in_order_nothing_is_dropped() -> None:
    loader = Loader(Numbered(7), 3, shuffle=False)
    assert len(loader) == 3
    assert [b.ids.tolist() for b in loader.epoch(0)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [len(b.y) for b in Loader(tensors(2), 3, shuffle=False).epoch(0)] == [2]


def test_the_next_batches_are_read_while_one_is_used_but_no_more() -> None:
    data = Numbered(40)
    batches = Loader(data, 4, prefetch=2, workers=2).epoch(0)
    next(batches)
    for _ in range(200):
        if len(data.read) >= 12:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    assert (
        12 <= len(data.read) <= 16
    )  # the batch in use, and two or three (one of them on its way) ahead of it
    assert threading.get_ident() not in data.threads
    batches.close()
    count = threading.active_count()
    assert len(data.read) <= 16
    assert count <= threading.active_count()


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    for _ in range(3):
        batches = Loader(Numbered(40), 4).epoch(0)
        next(batches)
        batches.close()
    list(Loader(Numbered(40), 4).epoch(0))
    assert threading.active_count() == before


def test_what_an_item_raises_is_raised() -> None:
    class Broken(Numbered):
        def __getitem__(self, i: int):
            if i == 3:
                raise ValueError("item 3 is broken")
            return super().__getitem__(i)

    class Uneven(Numbered):
        def __getitem__(self, i: int):
            return torch.zeros(1, 2, 2 + i % 2), 0

    class Single(Numbered):
        def __getitem__(self, i: int):
            return torch.zeros(1, 2, 2)

    before = threading.active_count()
    for source, error, message in (
        (Broken(), ValueError, "item 3 is broken"),
        (Uneven(), ValueError, "give the data set one size"),
        (Single(), TypeError, r"expected \(image, class number\)"),
    ):
        with pytest.raises(error, match=message):
            list(Loader(source, 5).epoch(0))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (iter([]), {}, "map-style"),
        ((torch.zeros(3), np.zeros(3)), {}, "pair of tensors"),
        ((torch.zeros(3), torch.zeros(4)), {}, "same n"),
        ((torch.zeros(3, device="meta"), torch.zeros(3)), {}, "x is on meta"),
        (tensors(), {"workers": 0}, "workers = 0"),
        (tensors(), {"prefetch": 0}, "prefetch = 0"),
        (tensors(), {"world": 2, "rank": 2}, "rank = 2"),
        (tensors(), {"world": 4}, "multiple of world = 4"),
        (tensors(), {"world": 2, "shuffle": False}, "world = 1"),
        (tensors(5), {}, "larger than the 5 samples"),
    ],
)
def test_wrong_use_is_refused(source, settings, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Loader(source, 6, **settings)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bytes_travel_to_the_device() -> None:
    data = Numbered()
    on_cpu, on_device = (list(Loader(data, 6, device=d).epoch(0)) for d in ("cpu", "cuda"))
    for one, other in zip(on_cpu, on_device, strict=True):
        assert other.x.is_cuda
        assert other.x.dtype == torch.uint8
        assert torch.equal(one.x, other.x.cpu())
        assert torch.equal(one.ids, other.ids)
    data = from_arrays(BYTES, LABELS, train=40)
    ids = torch.arange(8)
    one = data.view(ids, epoch=0, view=0, seed=0)
    other = data.view(ids, epoch=0, view=0, seed=0, x=data.train_x[ids].cuda())
    torch.testing.assert_close(one, other.cpu(), rtol=0, atol=1e-4)
