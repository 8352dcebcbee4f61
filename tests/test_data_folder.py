"""Trees of image files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from infossl.data import ImageFolder, data_named, folder, from_dataset
from infossl.data import folder as _folder_function
from infossl.data.augment import Compose, Flip, ToFloat
from infossl.probe_set import ProbeSet


def picture(path: Path, seed: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return pixels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three classes; nine images to train on and three to test."""
    for part, n in (("train", 3), ("val", 1)):
        for label, name in enumerate(("ant", "zebra", "Moth")):
            for i in range(n):
                picture(tmp_path / part / name / f"{i}.png", 10 * label + i + (100 if part == "val" else 0))
    return tmp_path


def test_classes_and_files_are_sorted_and_images_lazily_read(tree: Path, monkeypatch) -> None:
    opened: list[str] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path: (opened.append(Path(path).name), original(path))[1])
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listed(self), reverse=True)))
    data = ImageFolder(tree / "train", size=16)
    assert data.classes == ("Moth", "ant", "zebra")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [p.name for p in data.paths] == ["0.png", "1.png", "2.png"] * 3
    assert opened == []
    x, y = data[4]
    assert (x.shape, x.dtype, y, opened) == ((3, 16, 16), torch.uint8, 1, ["1.png"])
    assert repr(data) == f"ImageFolder({str(tree / 'train')!r}, n=9, classes=3)"


def test_images_are_resized_by_the_shorter_side_and_cut_to_the_centre(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a" / "wide.png", 0, (20, 16))
    picture(tmp_path / "a" / "tall.PNG", 1, (16, 33))
    wide = pixels[:, 2:18]  # as large as the side already: the centre alone
    data = ImageFolder(tmp_path, size=16)
    assert [p.name for p in data.paths] == ["tall.PNG", "wide.png"]
    np.testing.assert_array_equal(data[1][0].permute(1, 2, 0).numpy(), wide)
    half = ImageFolder(tmp_path, size=8)[1][0].permute(1, 2, 0).numpy()
    twin = np.asarray(Image.fromarray(pixels).resize((10, 8), Image.Resampling.BILINEAR))[:, 1:9]
    np.testing.assert_array_equal(half, twin)
    assert ImageFolder(tmp_path)[0][0].shape == (3, 33, 16)
    assert ImageFolder(tmp_path, size=40)[0][0].shape == (3, 40, 40)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_other_modes_become_three_channels(tmp_path: Path, mode: str) -> None:
    picture(tmp_path / "a" / ("x.jpg" if mode == "CMYK" else "x.png"), 0, mode=mode)
    assert ImageFolder(tmp_path, size=8)[0][0].shape == (3, 8, 8)


def test_files_that_are_no_images_are_left_out_and_reported(
    tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("notes.txt", "ant/.DS_Store", "ant/._1.png", "ant/labels.csv"):
        (tree / "train" / name).write_text("x")
    with caplog.at_level(logging.WARNING, logger="infossl.data.folder"):
        data = ImageFolder(tree / "train")
    assert len(data) == 9
    assert [p.name for p in data.skipped] == ["notes.txt", ".DS_Store", "._1.png", "labels.csv"]
    assert "4 files are no images" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="infossl.data.folder"):
        assert ImageFolder(tree / "val").skipped == ()
    assert caplog.text == ""


def test_a_file_that_is_no_image_in_spite_of_its_name_is_named(tree: Path) -> None:
    bad = tree / "train" / "ant" / "1.png"
    for content in (b"no image", bad.read_bytes()[:200]):
        bad.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"ant/1\.png cannot be read as an image.*remove it or replace it"
        ):
            ImageFolder(tree / "train", size=8)[4]
        with pytest.raises(ValueError, match=r"ant/1\.png"):
            folder(tree, size=8)


def test_what_is_no_tree_is_refused(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder"):
        ImageFolder(tree / "nothing")
    with pytest.raises(FileNotFoundError, match="has no folders"):
        ImageFolder(tree / "train" / "ant")
    (tree / "train" / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty has no images"):
        ImageFolder(tree / "train")
    picture(tree / "train" / "empty" / "0.png", 0)
    with pytest.raises(ValueError, match="other classes than the training images: empty"):
        folder(tree, size=8)
    with pytest.raises(ValueError, match="size = 0"):
        ImageFolder(tree / "train", size=0)


def test_a_tree_with_train_and_val_is_a_data_set(tree: Path) -> None:
    data = folder(tree, size=16, workers=2)
    assert (len(data.train_x), len(data.test_x), data.classes, data.name) == (9, 3, 3, tree.name)
    images = ImageFolder(tree / "train", size=16)
    stored = {tuple(x.flatten().tolist()): y for x, y in (images[i] for i in range(9))}
    found = {tuple(x.flatten().tolist()): int(y) for x, y in zip(data.train_x, data.train_y, strict=True)}
    assert found == stored
    assert data.train_y.tolist() != sorted(data.train_y.tolist())  # the first images are of all classes
    assert data.content_hash == folder(tree, size=16).content_hash
    probe = data.probe_set()
    assert (len(probe), int(probe.held_out.sum()), tuple(probe.views.shape)) == (12, 3, (12, 2, 3, 16, 16))
    again = data_named(f"Folder(root={str(tree)!r}, size=16)")
    assert again.content_hash == data.content_hash
    (tree / "val").rename(tree / "test")
    assert folder(tree, size=16).content_hash == data.content_hash


def test_without_a_test_tree_a_part_is_held_out(tree: Path) -> None:
    for root in (tree / "train", tree):
        if root == tree:
            (tree / "val").rename(tree.parent / f"{tree.name}-elsewhere")
        data = folder(root, size=8, train=6)
        assert (len(data.train_x), len(data.test_x)) == (6, 3)
        assert sorted(data.train_y.tolist()) == [0, 0, 1, 1, 2, 2]


def test_more_than_fits_into_memory_is_refused(tree: Path, monkeypatch) -> None:
    import sys

    monkeypatch.setattr(sys.modules[_folder_function.__module__], "_MOST_BYTES", 9 * 3 * 8 * 8 - 1)
    with pytest.raises(ValueError, match="GiB at size 8"):
        folder(tree, size=8)


def test_probe_sets_and_data_sets_are_made_of_any_map_style_data_set(tree: Path) -> None:
    images = ImageFolder(tree / "train", size=12)
    probe = ProbeSet.of(images, augment=Compose((ToFloat(), Flip())), q=3, seed=5)
    assert (len(probe), tuple(probe.views.shape), probe.view_seeds) == (9, (9, 3, 3, 12, 12), (5, 6, 7))

    few = ProbeSet.of(images, limit=6, choose="even")
    assert few.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(few.x[1], images[1][0])
    assert ProbeSet.of(images, limit=6).y.tolist() == [0, 0, 0, 1, 1, 1]
    held = np.arange(9) > 4
    of_arrays = ProbeSet.of(probe.x, y=probe.y, held_out=held, limit=4, choose="even")
    assert torch.equal(of_arrays.x, probe.x[[0, 2, 4, 6]])
    assert of_arrays.held_out.tolist() == held[[0, 2, 4, 6]].tolist()
    with pytest.raises(ValueError, match=r"needs a data set with \[i\]"):
        ProbeSet.of(iter([probe.x]), choose="even")
    with pytest.raises(ValueError, match="choose = 'last'"):
        ProbeSet.of(images, choose="last")

    class Pictures:  # PIL images, as data sets without a transform give them
        def __len__(self) -> int:
            return 9

        def __getitem__(self, i: int):
            return Image.fromarray(images[i][0].permute(1, 2, 0).numpy()), images[i][1]

    data = from_dataset(Pictures(), images, name="pictures")
    assert torch.equal(data.train_x, probe.x)
    assert torch.equal(data.test_y, images.labels)
    with pytest.raises(TypeError, match=r"expected \(image, class number\)"):
        from_dataset([np.zeros((8, 8))])
    with pytest.raises(TypeError, match="map-style"):
        from_dataset(iter([]))
