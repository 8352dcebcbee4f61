"""STL-10 from its published archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infossl.data.archives import Archive, read_files
from infossl.data.image_data import ImageData
from infossl.data.in_memory import from_arrays

__all__ = ["STL10", "stl10", "stl10_unlabelled"]

STL10 = (
    Archive(
        name="stl10_binary.tar.gz",
        md5="91f7769df0f17e558f3565bffb0c7dfb",
        size=2_640_397_119,
        folder="stl10_binary",
        page="https://cs.stanford.edu/~acoates/stl10/",
        files={
            "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
            "train_y.bin": "5a34089d4802c674881badbb80307741",
            "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
            "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
            "unlabeled_X.bin": "5242ba1fed5e4be9e1e742405eb56ca4",
        },
    ),
)
"""The published archive of STL-10 with its checksums."""

_SIDE = 96


def stl10(root: Path | str, *, archives: Sequence[Archive] = STL10, **settings: Any) -> ImageData:
    """STL-10: 5,000 images `(3, 96, 96)` to train on and 8,000 to test, of 10 classes.

    Arguments:
        root: folder that holds `stl10_binary.tar.gz` or its unpacked folder, which is faster.
        archives: what to look for, with checksums.
        settings: of `from_arrays`; the views are SimCLR's by default.

    Raises:
        FileNotFoundError: if the archive is not there; nothing is downloaded.
        ValueError: if a file is truncated or differs from the published one.

    References:
        Coates, Lee & Ng, 2011, *An analysis of single-layer networks in unsupervised feature learning*.
    """
    names = ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"]
    _, held = read_files(root, {a.name: names for a in archives}, archives)
    parts = []
    for part in ("train", "test"):
        x, y = _images(held[f"{part}_X.bin"], f"{part}_X.bin"), np.frombuffer(held[f"{part}_y.bin"], np.uint8)
        if len(x) != len(y) or y.min() < 1 or y.max() > 10:
            raise ValueError(
                f"{part}_y.bin holds {len(y)} labels for {len(x)} images: expected one in 1, ..., 10 for each"
            )
        parts += [x, y.astype(np.int64) - 1]
    return from_arrays(*parts, **{"name": "stl10", "views": "SimCLR", "channels": "first", **settings})


def stl10_unlabelled(root: Path | str, *, archives: Sequence[Archive] = STL10) -> np.ndarray:
    """The 100,000 images without labels, `(n, 3, 96, 96)` of bytes: 2.7 GB.

    Raises:
        FileNotFoundError, ValueError: see `stl10`.
    """
    _, held = read_files(root, {a.name: ["unlabeled_X.bin"] for a in archives}, archives)
    return _images(held["unlabeled_X.bin"], "unlabeled_X.bin")


def _images(content: bytes, name: str) -> np.ndarray:
    length = 3 * _SIDE * _SIDE
    if not content or len(content) % length:
        raise ValueError(f"{name} has {len(content)} bytes: expected a multiple of {length}, one image each")
    columns_first = np.frombuffer(content, np.uint8).reshape(-1, 3, _SIDE, _SIDE)
    return np.ascontiguousarray(columns_first.transpose(0, 1, 3, 2))
