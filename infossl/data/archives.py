"""Published archives on disk: found, verified against their checksums, and read without being unpacked."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Archive", "md5_of", "read_files"]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One published archive.

    Arguments:
        name: file name of the archive; `md5`: its published checksum; `size`: its bytes, where they are known.
        folder: folder inside the archive that holds the files.
        files: checksums of files by name, for an archive that was unpacked; without one, no unpacked file is read.
        page: where it is published.
    """

    name: str
    md5: str
    folder: str
    page: str
    size: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def md5_of(path: Path) -> str:
    """MD5 of a file. It finds damage; against a forger it would not help."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def read_files(
    root: Path | str, names: Mapping[str, Iterable[str]], archives: Iterable[Archive]
) -> tuple[Archive, dict[str, bytes]]:
    """The named files of the first archive, or of its unpacked folder, that is in `root`; all verified.

    Nothing is downloaded, and nothing is written.

    Arguments:
        root: folder that holds the archive, or the folder that it unpacks to.
        names: the files to read, by name of the archive.
        archives: what to look for, the first choice first.

    Raises:
        FileNotFoundError: if none is there, or a file is missing in it.
        ValueError: if an archive or a file is truncated or differs from what was published.
    """
    root, archives = Path(root).expanduser(), tuple(archives)
    for archive in archives:
        wanted = tuple(names[archive.name])
        if archive.files and (root / archive.folder).is_dir():
            return archive, {name: _verified(root / archive.folder / name, archive, name) for name in wanted}
        if (root / archive.name).is_file():
            return archive, _from_tar(root / archive.name, archive, wanted)
    looked = " or ".join(a.name + (f" or {a.folder}/" if a.files else "") for a in archives)
    raise FileNotFoundError(
        f"{root} holds no {looked}: nothing is downloaded here, so get {archives[0].name} from {archives[0].page} "
        "and give the folder that it is in as root"
    )


def _verified(path: Path, archive: Archive, name: str) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: unpack {archive.name} again")
    found = md5_of(path)
    if found != archive.files[name]:
        raise ValueError(
            f"{path} has MD5 {found}, published is {archive.files[name]}: the file is damaged or truncated "
            f"({path.stat().st_size} bytes); unpack {archive.name} again"
        )
    return path.read_bytes()


def _from_tar(path: Path, archive: Archive, wanted: tuple[str, ...]) -> dict[str, bytes]:
    size = path.stat().st_size
    if archive.size is not None and size < archive.size:
        raise ValueError(
            f"{path} is truncated: {size} of {archive.size} bytes; download it again from {archive.page}"
        )
    found = md5_of(path)
    if found != archive.md5:
        raise ValueError(
            f"{path} has MD5 {found}, published is {archive.md5}: the file is damaged, or another one; download it "
            f"again from {archive.page}"
        )
    contents: dict[str, bytes] = {}
    with tarfile.open(path, "r:*") as tar:
        for member in tar:  # in the order of the archive, which need not be searched twice
            name = member.name.removeprefix("./").removeprefix(f"{archive.folder}/")
            if name in wanted and member.isfile() and (file := tar.extractfile(member)) is not None:
                contents[name] = file.read()
            if len(contents) == len(wanted):
                break
    if missing := sorted(set(wanted) - contents.keys()):
        raise FileNotFoundError(
            f"{path} holds no {', '.join(f'{archive.folder}/{name}' for name in missing)}"
        )
    return contents
