"""MNIST and Fashion-MNIST: found on this machine or downloaded, and checked."""

import hashlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from softstep.model import writing
from softstep.model.archive import opened
from softstep.model.datasets import idx
from softstep.model.inputs.warnings import warn

TIMEOUT_S = 30.0  # without an answer, or a byte
SLOWEST = 10_000  # bytes a second that a download takes at least, after TIMEOUT_S
MOST_BYTES = 64 << 20  # of a file on this machine, packed or not; the largest has 47 million

MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}

# Of the uncompressed files: whoever has some of their own may have packed them otherwise.
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


# Of the packed files that the mirrors have: bytes, and SHA-256.
PACKED: dict[str, dict[str, tuple[int, str]]] = {
    "mnist": {
        "train-images-idx3-ubyte": (
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        "train-labels-idx1-ubyte": (
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        "t10k-images-idx3-ubyte": (
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        "t10k-labels-idx1-ubyte": (
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": (
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        "train-labels-idx1-ubyte": (
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        "t10k-images-idx3-ubyte": (
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        "t10k-labels-idx1-ubyte": (
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
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
            packed = _download(url, *PACKED[name][file])
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
    content = idx.uncompressed(io.BytesIO(packed), MOST_BYTES)
    _check(content, sha256)
    return content


def _check(content: bytes | bytearray, sha256: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("SHA-256 differs")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _download(url: str, size: int, sha256: str) -> bytes:
    """The whole content at the address, which is given up as soon as it falls behind SLOWEST.

    But for the head of the answer: there each byte is waited for.

    Raises:
        OSError: it is not available, larger than `size` bytes, or sent on to where no TLS is.
        ValueError: it is another one.
    """
    import http.client  # with ssl, which takes long

    content, start = bytearray(), time.monotonic()
    try:
        with _opener().open(url, timeout=TIMEOUT_S) as response:
            total = int(response.headers.get("Content-Length") or 0)
            with _progress(url, total) as show:
                while chunk := response.read1(1 << 16):  # what has come, without waiting for more
                    content += chunk
                    show(len(content))
                    if len(content) > size:
                        raise OSError(f"more than the {size:,} bytes expected")
                    if time.monotonic() - start > TIMEOUT_S + len(content) / SLOWEST:
                        raise OSError(f"too slow: {len(content):,} bytes so far")
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    # A connection that ends early looks like the end of the file.
    if len(content) < total:
        raise OSError(f"broken off after {len(content)} of {total} bytes")
    _check(content, sha256)
    return bytes(content)


def _opener() -> Any:
    """What opens an address, and follows where it is sent on to over TLS alone."""
    import urllib.request

    class OverTLS(urllib.request.HTTPRedirectHandler):
        def redirect_request(
            self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
        ) -> Any:
            if not newurl.startswith("https://"):
                fp.close()
                raise OSError(f"sent on to {newurl}, which is not over TLS")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return urllib.request.build_opener(OverTLS)


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
    try:
        writing.make_folder(path.parent)
        with writing.atomic_write(path) as file:
            file.write(packed)
    except (OSError, ValueError) as error:
        warn(f"{path} could not be kept in the cache: {error}")
