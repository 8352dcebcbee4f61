"""CIFAR-10 and CIFAR-100 from their published archives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infossl.data.archives import Archive, read_files
from infossl.data.image_data import ImageData
from infossl.data.in_memory import from_arrays
from infossl.data.safe_pickle import load_plain

__all__ = ["CIFAR10", "CIFAR100", "cifar10", "cifar100"]

_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_PIXELS = 3 * 32 * 32

CIFAR10 = (
    Archive(
        name="cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        size=170_498_071,
        folder="cifar-10-batches-py",
        page=_PAGE,
        files={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
    ),
    Archive(
        name="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        size=170_052_171,
        folder="cifar-10-batches-bin",
        page=_PAGE,
    ),
)
"""The published archives of CIFAR-10 with their checksums."""

CIFAR100 = (
    Archive(
        name="cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        size=169_001_437,
        folder="cifar-100-python",
        page=_PAGE,
        files={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    ),
    Archive(
        name="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        size=168_513_733,
        folder="cifar-100-binary",
        page=_PAGE,
    ),
)
"""The published archives of CIFAR-100 with their checksums."""


def cifar10(root: Path | str, *, archives: Sequence[Archive] = CIFAR10, **settings: Any) -> ImageData:
    """CIFAR-10: 50,000 images `(3, 32, 32)` to train on and 10,000 to test, of 10 classes.

    Arguments:
        root: folder that holds `cifar-10-python.tar.gz`, its unpacked folder, or `cifar-10-binary.tar.gz`.
        archives: what to look for, with checksums.
        settings: of `from_arrays`, such as `views="BYOL"`.

    Raises:
        FileNotFoundError: if no archive is there; nothing is downloaded.
        ValueError: if a file is truncated or differs from the published one.

    References:
        Krizhevsky, 2009, *Learning multiple layers of features from tiny images*.
    """
    train = [f"data_batch_{i}" for i in range(1, 6)]
    parts = _read(root, archives, train, ["test_batch"], b"labels", label_bytes=1, classes=10)
    return from_arrays(*parts, **{"name": "cifar10", "channels": "first", **settings})


def cifar100(
    root: Path | str, *, coarse: bool = False, archives: Sequence[Archive] = CIFAR100, **settings: Any
) -> ImageData:
    """CIFAR-100: 50,000 images `(3, 32, 32)` to train on and 10,000 to test, of 100 classes.

    Arguments:
        root: folder that holds `cifar-100-python.tar.gz`, its unpacked folder, or `cifar-100-binary.tar.gz`.
        coarse: labels are the 20 superclasses instead.
        archives: what to look for, with checksums.
        settings: of `from_arrays`.

    Raises:
        FileNotFoundError: if no archive is there; nothing is downloaded.
        ValueError: if a file is truncated or differs from the published one.

    References:
        Krizhevsky, 2009, *Learning multiple layers of features from tiny images*.
    """
    key = b"coarse_labels" if coarse else b"fine_labels"
    parts = _read(root, archives, ["train"], ["test"], key, label_bytes=2, classes=20 if coarse else 100)
    return from_arrays(*parts, **{"name": "cifar100", "channels": "first", **settings})


def _read(
    root: Path | str,
    archives: Sequence[Archive],
    train: list[str],
    test: list[str],
    key: bytes,
    *,
    label_bytes: int,
    classes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images, their labels, test images, their labels."""
    names = {a.name: [n + (".bin" if _binary(a) else "") for n in (*train, *test)] for a in archives}
    archive, contents = read_files(root, names, archives)
    read = []
    for name, content in contents.items():
        if _binary(archive):
            column = 0 if key != b"fine_labels" else 1
            x, y = _records(content, name, label_bytes, column)
        else:
            x, y = _pickled(content, name, key)
        if len(y) and not 0 <= y.min() <= y.max() < classes:
            raise ValueError(f"{name} has labels up to {y.max()}: expected less than {classes}")
        read.append((name.removesuffix(".bin"), x, y))
    found = {name: (x, y) for name, x, y in read}

    def joined(part: list[str]) -> tuple[np.ndarray, np.ndarray]:
        images = np.concatenate([found[name][0] for name in part])
        return images.reshape(-1, 3, 32, 32), np.concatenate([found[name][1] for name in part])

    return *joined(train), *joined(test)


def _binary(archive: Archive) -> bool:
    return "binary" in archive.name


def _pickled(content: bytes, name: str, key: bytes) -> tuple[np.ndarray, np.ndarray]:
    batch = load_plain(content, name)
    if not isinstance(batch, dict) or not {b"data", key} <= batch.keys():
        raise ValueError(f"{name} is no CIFAR batch: expected a dict with data and {key.decode()}")
    x, y = batch[b"data"], np.asarray(batch[key])
    if (
        not isinstance(x, np.ndarray)
        or x.dtype != np.uint8
        or x.shape != (len(y), _PIXELS)
        or y.dtype.kind != "i"
    ):
        raise ValueError(
            f"{name} holds data of shape {np.shape(x)} and labels of shape {y.shape}: expected bytes "
            f"(n, {_PIXELS}) and n integers"
        )
    return x, y


def _records(content: bytes, name: str, label_bytes: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    length = label_bytes + _PIXELS
    if not content or len(content) % length:
        raise ValueError(
            f"{name} has {len(content)} bytes: expected a multiple of {length}, one record per image"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, length)
    return records[:, label_bytes:], records[:, column].astype(np.int64)
