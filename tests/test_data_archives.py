"""CIFAR and STL-10: small archives of the same layout, checksums, damage, and pickles that would run code."""

from __future__ import annotations

import io
import pickle
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from infossl.data import cifar10, cifar100, data_named, stl10
from infossl.data.archives import Archive, md5_of
from infossl.data.cifar import CIFAR10, CIFAR100
from infossl.data.safe_pickle import load_plain
from infossl.data.stl10 import STL10, stl10_unlabelled

N = 4  # images in each file


def images(seed: int, side: int = 32, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), dtype=np.uint8)


def python2_pickle(x: np.ndarray, **labels: list[int]) -> bytes:
    """A batch as the publisher pickled it: protocol 2, and strings of Python 2 in place of text."""

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R(K\x01"
        b"M" + len(x).to_bytes(2, "little") + b"M" + (3072).to_bytes(2, "little") + b"\x86"
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89" + text(x.tobytes()) + b"tb"
    )
    out = b"\x80\x02}(" + text(b"data") + array
    for name, values in labels.items():
        out += text(name.encode()) + b"]" + b"(" + b"".join(b"K" + bytes([v]) for v in values) + b"e"
    return out + b"u."


def packed(folder: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {"readme.html": b"", **files}.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def placed(root: Path, archive: Archive, files: dict[str, bytes], *, unpacked: bool = False) -> Archive:
    """Writes the files as an archive, or unpacked, and returns the description with their checksums."""
    if unpacked:
        (root / archive.folder).mkdir(parents=True)
        for name, content in files.items():
            (root / archive.folder / name).write_bytes(content)
        return replace(archive, files={name: md5_of(root / archive.folder / name) for name in files})
    path = root / archive.name
    path.write_bytes(packed(archive.folder, files))
    return replace(archive, md5=md5_of(path), size=path.stat().st_size)


def batches10() -> dict[str, bytes]:
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    return {n: python2_pickle(images(i), labels=[i, 9, 0, i]) for i, n in enumerate(names)}


# -- what is published ----------------------------------------------------------------------------------------


def test_the_published_checksums_are_the_default() -> None:
    assert [a.md5 for a in CIFAR10] == [
        "c58f30108f718f92721af3b95e74349a",
        "c32a1d4ab5d03f1284b67883e8d87530",
    ]
    assert [a.md5 for a in CIFAR100] == [
        "eb9058c3a382ffc7106e4002c42a8d85",
        "03b5dce01913d631647c71ecec9e9cb8",
    ]
    assert [a.md5 for a in STL10] == ["91f7769df0f17e558f3565bffb0c7dfb"]
    for read, archives in (
        (cifar10, CIFAR10),
        (cifar100, CIFAR100),
        (stl10, STL10),
        (stl10_unlabelled, STL10),
    ):
        assert read.__kwdefaults__["archives"] is archives
    for archive in (*CIFAR10, *CIFAR100, *STL10):
        assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in (archive.md5, *archive.files.values()))


@pytest.mark.parametrize("unpacked", [False, True])
def test_another_archive_of_the_same_layout_is_refused_by_default(tmp_path: Path, unpacked: bool) -> None:
    placed(tmp_path, CIFAR10[0], batches10(), unpacked=unpacked)
    with pytest.raises(ValueError, match="again" if unpacked else r"truncated: \d+ of 170498071 bytes"):
        cifar10(tmp_path)


# -- CIFAR ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unpacked", [False, True])
def test_cifar10_as_python_2_wrote_it(tmp_path: Path, unpacked: bool) -> None:
    archive = placed(tmp_path, CIFAR10[0], batches10(), unpacked=unpacked)
    data = cifar10(tmp_path, archives=[archive])
    assert repr(data) == "ImageData('cifar10', train=20, test=4, images=(3, 32, 32), classes=10)"
    assert data.train_x.dtype == torch.uint8
    np.testing.assert_array_equal(data.train_x.numpy(), np.concatenate([images(i) for i in range(5)]))
    np.testing.assert_array_equal(data.test_x.numpy(), images(5))
    assert data.train_y.tolist() == [v for i in range(5) for v in (i, 9, 0, i)]
    assert data.test_y.tolist() == [5, 9, 0, 5]


def test_cifar10_as_binary_records(tmp_path: Path) -> None:
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    files = {
        n: b"".join(bytes([y]) + x.tobytes() for x, y in zip(images(i), [i, 9, 0, i], strict=True))
        for i, n in enumerate(names)
    }
    binary = cifar10(tmp_path, archives=[CIFAR10[0], placed(tmp_path, CIFAR10[1], files)])
    other = tmp_path / "python"
    other.mkdir()
    pickled = cifar10(other, archives=[placed(other, CIFAR10[0], batches10())])
    assert binary.content_hash == pickled.content_hash


@pytest.mark.parametrize("coarse", [False, True])
def test_cifar100_has_two_kinds_of_labels(tmp_path: Path, coarse: bool) -> None:
    fine, rough = [99, 3, 0, 50], [19, 1, 0, 7]
    files = {
        n: python2_pickle(images(i), fine_labels=fine, coarse_labels=rough)
        for i, n in enumerate(("train", "test"))
    }
    data = cifar100(tmp_path, coarse=coarse, archives=[placed(tmp_path, CIFAR100[0], files)])
    assert data.train_y.tolist() == (rough if coarse else fine)
    records = {
        f"{n}.bin": b"".join(
            bytes([r, f]) + x.tobytes() for x, f, r in zip(images(i), fine, rough, strict=True)
        )
        for i, n in enumerate(("train", "test"))
    }
    other = tmp_path / "binary"
    other.mkdir()
    binary = cifar100(other, coarse=coarse, archives=[placed(other, CIFAR100[1], records)])
    assert binary.content_hash == data.content_hash


def test_the_data_plug_into_probe_sets_and_views(tmp_path: Path) -> None:
    data = cifar10(
        tmp_path, archives=[placed(tmp_path, CIFAR10[0], batches10())], views="BYOL", probe_train=6
    )
    probe = data.probe_set(q=2)
    assert tuple(probe.views.shape) == (10, 2, 3, 32, 32)
    clean = torch.cat([data.train_x[:6], data.test_x]).double() / 255
    moments = data.train_x.double() / 255
    mean, std = (getattr(moments, m)((0, 2, 3), **k) for m, k in (("mean", {}), ("std", {"correction": 0})))
    twin = (clean - mean[:, None, None]) / std[:, None, None]
    assert float((probe.x - twin).abs().max()) < 2e-3  # the moments are kept to four digits
    ids = torch.tensor([3, 7, 1])
    views = data.view(ids, epoch=2, view=1, seed=0)
    torch.testing.assert_close(views[1:2], data.view(ids[1:2], epoch=2, view=1, seed=0))
    assert not torch.allclose(views, data.view(ids, epoch=2, view=0, seed=0))
    assert (
        data.content_hash
        != cifar10(tmp_path, archives=[placed(tmp_path, CIFAR10[0], batches10())]).content_hash
    )


# -- STL-10 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unpacked", [False, True])
def test_stl10_is_stored_column_by_column(tmp_path: Path, unpacked: bool) -> None:
    files: dict[str, bytes] = {}
    for i, part in enumerate(("train", "test")):
        files[f"{part}_X.bin"] = images(i, 96).transpose(0, 1, 3, 2).tobytes()
        files[f"{part}_y.bin"] = bytes([1, 10, 3, 2])
    files["unlabeled_X.bin"] = images(2, 96).transpose(0, 1, 3, 2).tobytes()
    archive = placed(tmp_path, STL10[0], files, unpacked=unpacked)
    data = stl10(tmp_path, archives=[archive])
    assert repr(data) == "ImageData('stl10', train=4, test=4, images=(3, 96, 96), classes=10)"
    np.testing.assert_array_equal(data.train_x.numpy(), images(0, 96))
    assert data.test_y.tolist() == [0, 9, 2, 1]
    np.testing.assert_array_equal(stl10_unlabelled(tmp_path, archives=[archive]), images(2, 96))


# -- damage ---------------------------------------------------------------------------------------------------


def test_nothing_there_says_what_to_get_and_where(tmp_path: Path) -> None:
    for read, name in ((cifar10, "cifar-10-python"), (cifar100, "cifar-100-python"), (stl10, "stl10_binary")):
        with pytest.raises(FileNotFoundError, match=rf"{name}.tar.gz.*nothing is downloaded.*https://"):
            read(tmp_path)


def test_truncated_and_changed_archives_are_refused(tmp_path: Path) -> None:
    archive = placed(tmp_path, CIFAR10[0], batches10())
    path = tmp_path / archive.name
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(
        ValueError, match=f"truncated: {len(content) - 100} of {len(content)} bytes; download"
    ):
        cifar10(tmp_path, archives=[archive])
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=f"MD5 [0-9a-f]{{32}}, published is {archive.md5}"):
        cifar10(tmp_path, archives=[archive])


def test_damaged_and_missing_unpacked_files_are_named(tmp_path: Path) -> None:
    archive = placed(tmp_path, CIFAR10[0], batches10(), unpacked=True)
    path = tmp_path / archive.folder / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="data_batch_3 has MD5"):
        cifar10(tmp_path, archives=[archive])
    path.unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_3 is missing"):
        cifar10(tmp_path, archives=[archive])


def test_files_of_another_kind_inside_are_refused(tmp_path: Path) -> None:
    def read(files: dict[str, bytes], archive: Archive = CIFAR10[0], reader=cifar10):
        return reader(tmp_path, archives=[placed(tmp_path, archive, files)])

    batches = batches10()
    with pytest.raises(FileNotFoundError, match="cifar-10-batches-py/test_batch"):
        read({k: v for k, v in batches.items() if k != "test_batch"})
    with pytest.raises(ValueError, match="test_batch is no CIFAR batch"):
        read(batches | {"test_batch": pickle.dumps({b"data": b""})})
    with pytest.raises(ValueError, match=r"labels of shape \(3,\)"):
        read(batches | {"test_batch": python2_pickle(images(0), labels=[1, 2, 3])})
    with pytest.raises(ValueError, match="labels up to 10"):
        read(batches | {"test_batch": python2_pickle(images(0), labels=[1, 2, 3, 10])})
    (tmp_path / CIFAR10[0].name).unlink()
    with pytest.raises(ValueError, match="multiple of 3073"):
        read({f"{k}.bin": b"12" for k in batches}, CIFAR10[1])
    with pytest.raises(ValueError, match="multiple of 27648"):
        read({f"{p}_{k}.bin": b"12" for p in ("train", "test") for k in "Xy"}, STL10[0], stl10)
    with pytest.raises(ValueError, match="4 images"):
        read(
            {f"{p}_X.bin": images(0, 96).tobytes() for p in ("train", "test")}
            | {f"{p}_y.bin": bytes([0, 1, 2, 3]) for p in ("train", "test")},
            STL10[0],
            stl10,
        )


# -- pickles --------------------------------------------------------------------------------------------------

RAN: list[str] = []


class Runs:
    def __reduce__(self):
        return RAN.append, ("ran",)


class Evaluates:
    def __reduce__(self):
        return eval, ("__import__('os').getcwd()",)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (Runs(), "getattr"),
        (Evaluates(), "eval"),
        (Path("x"), "pathlib"),
        (np.array([Evaluates()], dtype=object), "dtype 'O8'"),
        (np.ma.masked_array([1, 2]), "numpy[.]ma"),
        (np.zeros(2, dtype=[("a", "u1")]), "dtype 'V1'"),
        ({1: torch.zeros(2)}, "torch"),
    ],
)
def test_a_pickle_that_asks_for_more_than_plain_data_is_refused_by_name(bad, named: str) -> None:
    for protocol in (2, 4):
        with pytest.raises(ValueError, match=f"batch is refused: .*({named})"):
            load_plain(pickle.dumps({b"data": bad}, protocol), "batch")
    assert RAN == []


def test_a_pickle_in_the_archive_cannot_run_code(tmp_path: Path) -> None:
    """Even if its checksum were right; and the check can fail, for the plain unpickler does run it."""
    evil = b"\x80\x02ctests_that_does_not_exist\nrun\n)R."
    archive = placed(tmp_path, CIFAR10[0], batches10() | {"data_batch_1": evil})
    with pytest.raises(
        ValueError, match=r"data_batch_1 is refused: it asks for tests_that_does_not_exist\.run"
    ):
        cifar10(tmp_path, archives=[archive])
    shown = b"cbuiltins\nlen\n(]tR."
    assert pickle.loads(shown) == 0
    with pytest.raises(ValueError, match=r"builtins\.len"):
        load_plain(shown, "batch")


def test_plain_data_come_back_as_they_were() -> None:
    plain = {b"a": [1, 2.5, None, True], "b": (b"x", "é"), "c": {"d": np.arange(6).reshape(2, 3)}}
    for protocol in (2, 3, 4):
        back = load_plain(pickle.dumps(plain, protocol), "batch")
        assert (back[b"a"], back["b"]) == (plain[b"a"], plain["b"])
        np.testing.assert_array_equal(back["c"]["d"], plain["c"]["d"])
    for dtype in ("u1", "<i4", ">i4", "f8", "?"):
        x = np.array([0, 1, 2]).astype(dtype)
        np.testing.assert_array_equal(load_plain(pickle.dumps(x, 2), "batch"), x)
    assert np.dtype("i4").isnative  # filling a big-endian array left numpy's own dtype as it was


@pytest.mark.parametrize("content", [b"", b"\x80\x02}", b"garbage", b"\x80\x02P1\n.", b"ctypes\nCDLL\n."])
def test_broken_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="batch is refused"):
        load_plain(content, "batch")


def test_archives_by_name_say_what_is_missing(tmp_path: Path) -> None:
    for name in ("CIFAR10", "CIFAR100", "STL10"):
        with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
            data_named(f"{name}(root={str(tmp_path)!r})")
