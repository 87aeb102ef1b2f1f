"""MNIST and Fashion-MNIST: found on this machine or downloaded, and checked."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from softstep.model.archive import opened
from softstep.model.datasets import idx
from softstep.model.inputs.warnings import warn

TIMEOUT_S = 30.0  # without an answer, or a byte
SLOWEST = 10_000  # bytes a second that a download takes at least, after TIMEOUT_S
MOST_BYTES = 64 << 20  # of a file, packed or not; the largest has 47 million

MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}

# Of the uncompressed files: the same data are packed differently from mirror to mirror.
SHA256: dict[str, dict[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte": (
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        "t10k-images-idx3-ubyte": (
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        "t10k-labels-idx1-ubyte": (
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
}


class DatasetError(RuntimeError):
    """A data set that is not available; the message names every place tried, and what to do."""


def fetch(name: str, file: str) -> bytes:
    """The uncompressed bytes of one file, from the first source that has it intact."""
    sha256, cache, tried = SHA256[name][file], _cache_folder(name), []
    for path in (folder / form for folder in _folders(name) for form in (file, f"{file}.gz")):
        try:
            with opened(path) as stored:
                return _intact(stored.read(MOST_BYTES + 1), sha256)
        except (OSError, ValueError) as error:
            tried.append(f"{path} ({_reason(error)})")
    for url in (f"{mirror}{file}.gz" for mirror in MIRRORS[name]):
        try:
            packed = _download(url)
            content = _intact(packed, sha256)
        except (OSError, ValueError) as error:
            tried.append(f"{url} ({_reason(error)})")
            continue
        if cache is not None:
            _keep(cache / f"{file}.gz", packed)
        return content
    raise DatasetError(
        "\n  ".join([f"{name}: {file} cannot be had. Tried:", *tried])
        + f"\nTo supply the data, put {', '.join(SHA256[name])} (plain or with .gz) into a folder "
        f"named {name} and set SOFTSTEP_DATA to the folder that holds it."
    )


def _folders(name: str) -> list[Path]:
    """The folders searched for the files on this machine, in order."""
    given, cache = os.environ.get("SOFTSTEP_DATA"), _cache_folder(name)
    folders = [Path(given) / name, Path(given)] if given else []
    return folders if cache is None else [*folders, cache]


def _cache_folder(name: str) -> Path | None:
    """The folder downloads are kept in; None where there is no home folder."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        cache = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:
        return None
    return cache / "softstep" / name


def _intact(packed: bytes, sha256: str) -> bytes:
    """The uncompressed bytes, or ValueError when they are not those of the data set."""
    import hashlib

    content = idx.uncompressed(packed, MOST_BYTES)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("SHA-256 differs")
    return content


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _download(url: str) -> bytes:
    """The whole content at the address; OSError if it is unavailable or too large."""
    import http.client
    import time
    import urllib.request

    content, start = bytearray(), time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            total = int(response.headers.get("Content-Length") or 0)
            with _progress(url, total) as show:
                while chunk := response.read(1 << 16):
                    content += chunk
                    show(len(content))
                    if len(content) > MOST_BYTES:
                        raise OSError(f"more than the {MOST_BYTES:,} bytes expected")
                    if time.monotonic() - start > TIMEOUT_S + len(content) / SLOWEST:
                        raise OSError(f"too slow: {len(content):,} bytes so far")
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    # A connection that ends early looks like the end of the file.
    if len(content) < total:
        raise OSError(f"broken off after {len(content)} of {total} bytes")
    return bytes(content)


@contextmanager
def _progress(url: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that draws the bar, on stderr where that is a terminal, else nowhere."""
    visible = total > 0 and sys.stderr.isatty()
    file = url.rpartition("/")[2]

    def show(done: int) -> None:
        if visible:
            bar = "#" * (20 * done // total)
            sys.stderr.write(f"\r{file} [{bar:20}] {done / 1e6:.1f} of {total / 1e6:.1f} MB")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if visible:
            sys.stderr.write("\n")


def _keep(path: Path, packed: bytes) -> None:
    """Write to the cache, whole or not at all. It is not an error if the cache is not writable."""
    import tempfile

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its final place, because a move is atomic only within one file system.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            temporary.write_bytes(packed)
            temporary.replace(path)
    except OSError as error:
        warn(f"{path} could not be kept in the cache: {error}")
