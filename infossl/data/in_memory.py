"""From images in memory to an `ImageData`: shapes, labels, split and views."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from infossl.data.augment import Compose, Normalise, ToFloat
from infossl.data.digits import stratified_split
from infossl.data.image_data import ImageData
from infossl.data.view_presets import views_named
from infossl.probe_set import Augment, ProbeSet

__all__ = ["arrays", "as_images", "from_arrays", "from_dataset"]

Channels = Literal["first", "last"]

PROBE_TRAIN, PROBE_TEST = 5000, 2000
"""Images of a probe set at most: pairwise measures cost the square of them, views stay in memory."""


def as_images(x: Any, channels: Channels | None = None) -> Tensor:
    """Images as `(n, C, H, W)`, of bytes or of floating point in [0, 1].

    Arguments:
        x: `(n, H, W)`, `(n, C, H, W)` or `(n, H, W, C)`.
        channels: whether they come first or last; by default where 1 or 3 is found.

    Raises:
        TypeError: for other dtypes.
        ValueError: for other shapes, if both ends could be channels, or if values are outside [0, 1].
    """
    images = torch.as_tensor(x)
    shape = tuple(images.shape)
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim != 4:
        raise ValueError(f"x has shape {shape}: expected images (n, H, W), (n, C, H, W) or (n, H, W, C)")
    else:
        if channels is None:
            first, last = shape[1] in (1, 3), shape[3] in (1, 3)
            if first == last:
                raise ValueError(
                    f"x has shape {shape}: say where the channels are, channels='first' or 'last'"
                )
            channels = "first" if first else "last"
        images = images.permute(0, 3, 1, 2).contiguous() if channels == "last" else images
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise TypeError(f"x has dtype {images.dtype}: expected bytes (uint8) or floating point in [0, 1]")
    if not bool(torch.isfinite(images).all()) or float(images.min()) < 0 or float(images.max()) > 1:
        raise ValueError(
            f"x has values in [{float(images.min()):g}, {float(images.max()):g}]: floating point images must be "
            "finite and in [0, 1]; divide by 255, or give bytes (uint8)"
        )
    return images.float()


def _labels(y: Any, n: int, name: str) -> Tensor:
    labels = torch.as_tensor(np.asarray(y))
    if labels.shape != (n,) or labels.is_floating_point() or labels.is_complex() or int(labels.min()) < 0:
        raise ValueError(
            f"{name} has shape {tuple(labels.shape)} and dtype {labels.dtype}: expected {n} class numbers 0, 1, 2, ..."
        )
    return labels.long()


def from_arrays(
    x: Any,
    y: Any,
    test_x: Any = None,
    test_y: Any = None,
    *,
    name: str = "arrays",
    train: int | float = 0.8,
    split_seed: int = 0,
    views: str | Augment = "SimCLR-CIFAR",
    channels: Channels | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    probe_train: int = PROBE_TRAIN,
    probe_test: int = PROBE_TEST,
) -> ImageData:
    """Images and labels in memory as a data set with views; bytes stay bytes until they are on the device.

    Arguments:
        x: images, see `as_images`; `y`: class numbers.
        test_x, test_y: images that no training step sees; without them a stratified part of `x` is held out, and both
            parts are shuffled, so that the first images are of all classes.
        train: how many of `x` to train on in that case, or their share.
        views: a name of `VIEW_PRESETS`, with crops as large as the image, or an augmentation of bytes.
        mean, std: of each channel in [0, 1]; by default those of the training images.
        probe_train, probe_test: at most so many images are in a probe set.

    Raises:
        ValueError, TypeError: for images and labels that are none.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> from_arrays(rng.integers(0, 256, (50, 8, 8), dtype=np.uint8), np.arange(50) % 5)
        ImageData('arrays', train=40, test=10, images=(1, 8, 8), classes=5)
    """
    images = as_images(x, channels)
    labels = _labels(y, len(images), "y")
    if (test_x is None) != (test_y is None):
        raise ValueError("test_x and test_y go together: give both, or none to hold out a part of x")
    if test_x is None:
        count = round(train * len(images)) if isinstance(train, float) else train
        parts = stratified_split(labels.numpy(), count, split_seed)
        order = np.random.default_rng((split_seed, 1))
        fit, test = (torch.from_numpy(order.permutation(part)) for part in parts)
        tested, tested_y = images[test], labels[test]
        images, labels = images[fit], labels[fit]
    else:
        tested = as_images(test_x, channels)
        tested_y = _labels(test_y, len(tested), "test_y")
        if tested.shape[1:] != images.shape[1:] or tested.dtype != images.dtype:
            raise ValueError(
                f"x has shape {tuple(images.shape)} of {images.dtype} and test_x {tuple(tested.shape)} of "
                f"{tested.dtype}: both need images of one kind"
            )
    if mean is None or std is None:
        mean, std = _moments(images)
    size = (images.shape[2], images.shape[3])
    augment = views_named(views, size=size, mean=mean, std=std) if isinstance(views, str) else views
    return ImageData(
        name,
        images,
        labels,
        tested,
        tested_y,
        augment,
        Compose((ToFloat(), Normalise(mean, std))),
        keyed=True,
        probe_train=probe_train,
        probe_test=probe_test,
    )


def _moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel to four digits; a constant channel is not scaled."""
    sums = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for some in images.split(1000):
        values = ToFloat()(some).double()
        sums += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    mean, square = sums / (images.numel() / images.shape[1])
    std = (square - mean.square()).clamp(min=0).sqrt()
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(v, 4) or 1.0 for v in std.tolist())


def arrays(path: Path | str, **settings: Any) -> ImageData:
    """Arrays of an `.npz` file: `x` and `y`, with `test_x` and `test_y` where there are any.

    Arguments:
        settings: of `from_arrays`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds other arrays, or objects, which could run code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: write it with numpy.savez({path.name!r}, x=images, y=labels)"
        )
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds one array, without labels")
        with file:
            held = {name: file[name] for name in file}
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read: {error}; write it with numpy.savez(path, x=images, y=labels)"
        ) from None
    if not {"x", "y"} <= held.keys() <= {"x", "y", "test_x", "test_y"}:
        raise ValueError(f"{path} holds {sorted(held)}: expected x and y, and test_x and test_y if any")
    return from_arrays(**held, **{"name": path.stem, **settings})


def from_dataset(dataset: Any, test: Any = None, *, limit: int = 100_000, **settings: Any) -> ImageData:
    """Any map-style data set of `(image, class number)`, read into memory.

    Arguments:
        dataset: `len` and `[i]`; images are arrays or PIL images of one size.
        test: likewise, for the test images; without one a part of `dataset` is held out.
        limit: at most so many images of each are taken, the first ones.
        settings: of `from_arrays`.

    Raises:
        TypeError, ValueError: if items are something else.
    """
    x, y = _materialised(dataset, limit)
    held_out: tuple[Any, Any] = (None, None) if test is None else _materialised(test, limit)
    return from_arrays(x, y, *held_out, **settings)


class _Arrays:
    """A map-style data set whose PIL images are arrays."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Any:
        item = self.dataset[i]
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise TypeError(f"item {i} is a {type(item).__name__}: expected (image, class number)")
        x = item[0]
        return (x if isinstance(x, Tensor) else np.array(x)), item[1]


def _materialised(dataset: Any, limit: int) -> tuple[Tensor, Tensor]:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(f"dataset must be map-style, with len and [i], got {type(dataset).__name__}")
    probe = ProbeSet.of(_Arrays(dataset), limit=limit)
    assert probe.y is not None
    return probe.x, probe.y
