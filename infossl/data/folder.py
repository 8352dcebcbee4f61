"""Trees of image files, one folder per class."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infossl.data.image_data import ImageData
from infossl.data.in_memory import from_arrays

__all__ = ["EXTENSIONS", "ImageFolder", "folder"]

log = logging.getLogger(__name__)

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""File names that are taken for images, in lower or upper case."""

_MOST_BYTES = 16 * 2**30  # images that `folder` keeps in memory


class ImageFolder:
    """Images `root/class/.../name.jpg` as a map-style data set; each is read when it is asked for.

    Item i is `(image, class number)`: the image as bytes `(3, size, size)`, its shorter side resized to `size` (bilinear,
    antialiased) and the centre taken. Classes are numbered in the order of their sorted names, files in that of theirs.

    Arguments:
        root: folder with one folder per class.
        size: side of the images; `None` leaves them as they are, which no loader can batch.
        classes: names that are expected, such as those of the training images.

    Attributes:
        paths: the files; `labels`: their class numbers `(n,)`; `classes`: names of the classes.
        skipped: files that are no images by their name, which are left out.

    Raises:
        FileNotFoundError: if `root` is no folder, has no class folders, or a class has no images.
        ValueError: if the classes are not those expected; when an item is read, if its file is no image.
    """

    def __init__(
        self, root: Path | str, size: int | None = None, classes: Iterable[str] | None = None
    ) -> None:
        self.root, self.size = Path(root).expanduser(), size
        if size is not None and size < 1:
            raise ValueError(f"size = {size} must be at least one pixel")
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"{self.root} is no folder: expected one with a folder of images per class"
            )
        self.classes = tuple(
            sorted(p.name for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        )
        if not self.classes:
            raise FileNotFoundError(f"{self.root} has no folders: expected one folder of images per class")
        if classes is not None and tuple(classes) != self.classes:
            differing = sorted(set(classes) ^ set(self.classes))
            raise ValueError(
                f"{self.root} has other classes than the training images: {', '.join(differing[:10])}"
            )
        paths: list[Path] = []
        labels: list[int] = []
        skipped = [p for p in self.root.iterdir() if p.is_file()]
        for label, name in enumerate(self.classes):
            files = sorted(p for p in (self.root / name).rglob("*") if p.is_file())
            images = [p for p in files if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".")]
            if not images:
                raise FileNotFoundError(
                    f"{self.root / name} has no images ({', '.join(EXTENSIONS)}): remove the folder, or fill it"
                )
            paths += images
            labels += [label] * len(images)
            skipped += sorted(set(files) - set(images))
        self.paths, self.skipped = tuple(paths), tuple(skipped)
        self.labels = torch.tensor(labels)
        if skipped:
            log.warning(
                "%s: %d files are no images and are left out, such as %s", root, len(skipped), skipped[0]
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return _read(self.paths[i], self.size), int(self.labels[i])

    def __repr__(self) -> str:
        return f"ImageFolder({str(self.root)!r}, n={len(self)}, classes={len(self.classes)})"


def _read(path: Path, size: int | None) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}; remove it or replace it") from None
    if size is not None:
        width, height = image.size
        scale = size / min(width, height)
        shape = (max(size, round(width * scale)), max(size, round(height * scale)))
        left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
        image = image.resize(shape, Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def folder(root: Path | str, size: int = 64, *, workers: int = 4, **settings: Any) -> ImageData:
    """A tree of image files, read into memory once as bytes.

    With `root/train` and `root/val` (or `root/test`), these are the training and the test images. Otherwise the folders in
    `root` are the classes, and a stratified part of the images is held out. Both parts are shuffled by a fixed seed, so
    that the first images are of all classes.

    Arguments:
        root: the tree.
        size: side of the images in pixels, see `ImageFolder`.
        workers: threads that read files.
        settings: of `from_arrays`.

    Raises:
        FileNotFoundError: if the tree is none.
        ValueError: if training and test images have different classes, a file is no image, or all of them together need
            more than 16 GiB; `ImageFolder` with a `Loader` reads them one batch at a time.
    """
    top = Path(root).expanduser()
    settings = {"name": top.resolve().name, "views": "SimCLR", "channels": "first", **settings}
    if not (top / "train").is_dir():
        whole = ImageFolder(top, size)
        return from_arrays(*_decoded(whole, workers, shuffle=False), **settings)
    train = ImageFolder(top / "train", size)
    held_out = next((top / name for name in ("val", "test") if (top / name).is_dir()), None)
    if held_out is None:
        return from_arrays(*_decoded(train, workers, shuffle=False), **settings)
    test = ImageFolder(held_out, size, train.classes)
    return from_arrays(*_decoded(train, workers), *_decoded(test, workers), **settings)


def _decoded(images: ImageFolder, workers: int, *, shuffle: bool = True) -> tuple[Tensor, Tensor]:
    size = images.size or 0
    needed = len(images) * 3 * size * size
    if needed > _MOST_BYTES:
        raise ValueError(
            f"{images.root} needs {needed / 2**30:.0f} GiB at size {size}, more than {_MOST_BYTES / 2**30:.0f}: choose a "
            "smaller size, or read batches with Loader(ImageFolder(root, size))"
        )
    order = np.random.default_rng(len(images)).permutation(len(images)) if shuffle else np.arange(len(images))
    out = torch.empty(len(images), 3, size, size, dtype=torch.uint8)

    def read(place: int) -> None:
        out[place] = images[int(order[place])][0]

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for _ in pool.map(read, range(len(images))):
            pass
    return out, images.labels[torch.from_numpy(order)]
