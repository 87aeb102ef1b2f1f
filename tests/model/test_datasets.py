"""The data sets: what they hold, where they are looked for, and what is said when they are bad."""

import contextlib
import functools
import gzip
import hashlib
import http.client
import io
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from softstep.model.datasets import (
    Dataset,
    DatasetError,
    download,
    hold_out,
    load,
    load_digits,
    load_fashion_mnist,
    load_features,
    load_file,
    load_mnist,
)

FILES = tuple(download.SHA256["mnist"])
LOADERS = {"mnist": load_mnist, "fashion-mnist": load_fashion_mnist}


# The digits.


def test_digits_are_the_rows_of_scikit_learn_in_the_fixed_split():
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    test = np.zeros(1797, dtype=bool)
    test[np.argsort(bunch.target, kind="stable")[::5]] = True
    digits = load_digits()
    np.testing.assert_array_equal(digits.X_train * 16, bunch.data[~test])
    np.testing.assert_array_equal(digits.y_train, bunch.target[~test])
    np.testing.assert_array_equal(digits.X_test * 16, bunch.data[test])
    np.testing.assert_array_equal(digits.y_test, bunch.target[test])


def test_digits_have_the_promised_shapes_dtypes_and_range():
    digits = load_digits()
    assert digits.name == "digits"
    assert digits.X_train.shape == (1437, 64)
    assert digits.X_test.shape == (360, 64)
    for X, y in ((digits.X_train, digits.y_train), (digits.X_test, digits.y_test)):
        assert X.dtype == np.float32
        assert (X.min(), X.max()) == (0.0, 1.0)
        assert y.dtype == np.int64
        assert y.shape == (len(X),)
        assert np.unique(y).tolist() == list(range(10))


# MNIST and Fashion-MNIST: stand-ins of a few rows, whose SHA-256 take the place of the real ones.


def idx_bytes(values):
    values = np.asarray(values, dtype=np.uint8)
    header = np.array([0x800 + values.ndim, *values.shape], dtype=">u4")
    return header.tobytes() + values.tobytes()


def as_packed(content):
    """As a mirror has it: the same bytes each time."""
    return gzip.compress(content, mtime=0)


def stand_in(seed):
    """The four files of a small data set: 5 training and 3 test images of 4 x 3 pixels."""
    rng = np.random.default_rng(seed)
    shapes = ((5, 4, 3), (5,), (3, 4, 3), (3,))
    return {
        file: idx_bytes(rng.integers(0, 10, size=shape))
        for file, shape in zip(FILES, shapes, strict=True)
    }


@pytest.fixture
def contents(monkeypatch, tmp_path):
    """Stand-ins for both sets; no SOFTSTEP_DATA, an empty cache, no mirrors."""
    contents = {"mnist": stand_in(1), "fashion-mnist": stand_in(2)}
    for name, files in contents.items():
        hashes = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        monkeypatch.setitem(download.SHA256, name, hashes)
        packs = {file: as_packed(content) for file, content in files.items()}
        known = {f: (len(pack), hashlib.sha256(pack).hexdigest()) for f, pack in packs.items()}
        monkeypatch.setitem(download.PACKED, name, known)
        monkeypatch.setitem(download.MIRRORS, name, ())
    monkeypatch.delenv("SOFTSTEP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return contents


class Mirror:
    """A web server on this machine; `pages` maps a path to the bytes it serves, or to an address
    that it sends on to."""

    def __init__(self, server):
        self.url = f"http://127.0.0.1:{server.server_port}/"
        self.pages = {}
        self.announced = {}
        self.requests = []
        self.parts = lambda body: [body]

    def offer(self, files):
        self.pages |= {f"/{file}.gz": as_packed(content) for file, content in files.items()}


@pytest.fixture
def mirror(contents, monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            mirror.requests.append(self.path)
            if self.path not in mirror.pages:
                self.send_error(404)
                return
            body = mirror.pages[self.path]
            if isinstance(body, str):
                self.send_response(302)
                self.send_header("Location", body)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(mirror.announced.get(self.path, len(body))))
            self.end_headers()
            with contextlib.suppress(OSError):  # of a reader that has left
                for part in mirror.parts(body):
                    self.wfile.write(part)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror = Mirror(server)
        thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
        thread.start()
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setitem(download.MIRRORS, "mnist", (mirror.url,))
        yield mirror
        server.shutdown()
        thread.join()


def put(folder, files, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        if packed:
            (folder / f"{file}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / file).write_bytes(content)


def assert_is_stand_in(data, name, files):
    images, labels, test_images, test_labels = files.values()
    assert data.name == name
    np.testing.assert_array_equal(data.X_train.ravel(), np.frombuffer(images[16:], np.uint8))
    np.testing.assert_array_equal(data.y_train, np.frombuffer(labels[8:], np.uint8))
    np.testing.assert_array_equal(data.X_test.ravel(), np.frombuffer(test_images[16:], np.uint8))
    np.testing.assert_array_equal(data.y_test, np.frombuffer(test_labels[8:], np.uint8))
    assert (data.X_train.shape, data.X_test.shape) == ((5, 12), (3, 12))
    assert data.X_train.dtype == data.X_test.dtype == np.uint8
    assert data.y_train.dtype == data.y_test.dtype == np.int64


def cached(tmp_path, name="mnist"):
    """The names of everything in the cache's folder of a data set."""
    folder = tmp_path / "cache" / "softstep" / name
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("own_folder", [False, True])
@pytest.mark.parametrize("name", LOADERS)
def test_files_are_found_in_softstep_data(
    name, own_folder, packed, contents, tmp_path, monkeypatch
):
    put(tmp_path / "data" / (name if own_folder else ""), contents[name], packed)
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path / "data"))
    assert_is_stand_in(LOADERS[name](), name, contents[name])
    assert cached(tmp_path, name) == []


@pytest.mark.parametrize("name", LOADERS)
def test_files_are_found_in_the_cache(name, contents, tmp_path):
    put(tmp_path / "cache" / "softstep" / name, contents[name], packed=True)
    assert_is_stand_in(LOADERS[name](), name, contents[name])


def test_the_cache_is_in_the_home_folder_without_xdg_cache_home(contents, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    put(tmp_path / ".cache" / "softstep" / "mnist", contents["mnist"])
    assert_is_stand_in(load_mnist(), "mnist", contents["mnist"])


def test_softstep_data_comes_before_the_cache_and_the_cache_before_the_mirrors(
    contents, mirror, tmp_path, monkeypatch
):
    images, labels, test_images, test_labels = FILES
    files = contents["mnist"]
    put(tmp_path / "data", {images: files[images]})
    put(tmp_path / "cache/softstep/mnist", {images: b"bad", labels: files[labels]})
    mirror.offer({labels: b"bad", test_images: files[test_images], test_labels: files[test_labels]})
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path / "data"))
    assert_is_stand_in(load_mnist(), "mnist", files)
    assert mirror.requests == [f"/{test_images}.gz", f"/{test_labels}.gz"]


def test_pixels_can_be_written_to(contents, tmp_path, monkeypatch):
    put(tmp_path, contents["mnist"])
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path))
    data = load_mnist()
    data.X_train[0, 0] = 255
    assert data.X_train[0, 0] == 255


def test_another_data_set_is_never_taken_in_its_place(contents, tmp_path, monkeypatch):
    put(tmp_path / "data", contents["fashion-mnist"])
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path / "data"))
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte \(SHA-256 differs\)"):
        load_mnist()


def test_the_error_names_every_place_in_the_order_tried_and_why_and_what_to_do(
    contents, mirror, tmp_path, monkeypatch
):
    data, cache = tmp_path / "data", tmp_path / "cache" / "softstep" / "mnist"
    put(data / "mnist", {FILES[0]: b"not MNIST"})
    put(cache, {f"{FILES[0]}.gz": b"\x1f\x8bnot gzip"})
    monkeypatch.setenv("SOFTSTEP_DATA", str(data))
    other = f"{mirror.url}other/"
    monkeypatch.setitem(download.MIRRORS, "mnist", (mirror.url, other))
    mirror.pages[f"/other/{FILES[0]}.gz"] = gzip.compress(b"not MNIST either")
    with pytest.raises(DatasetError) as info:
        load_mnist()
    message = str(info.value)
    tried = (
        (data / "mnist" / FILES[0], "SHA-256 differs"),
        (data / "mnist" / f"{FILES[0]}.gz", "No such file or directory"),
        (data / FILES[0], "No such file or directory"),
        (data / f"{FILES[0]}.gz", "No such file or directory"),
        (cache / FILES[0], "No such file or directory"),
        (cache / f"{FILES[0]}.gz", "its gzip data are damaged"),
        (f"{mirror.url}{FILES[0]}.gz", "HTTP Error 404"),
        (f"{other}{FILES[0]}.gz", "SHA-256 differs"),
    )
    lines = message.splitlines()[1:-1]
    for line, (place, reason) in zip(lines, tried, strict=True):
        assert line.startswith(f"  {place} ({reason}")
    assert "SOFTSTEP_DATA" in message
    assert all(file in message for file in FILES)


# Downloads.


def test_a_download_is_used_and_kept_in_the_cache(contents, mirror, tmp_path):
    mirror.offer(contents["mnist"])
    assert_is_stand_in(load_mnist(), "mnist", contents["mnist"])
    assert cached(tmp_path) == sorted(f"{file}.gz" for file in FILES)
    mirror.requests.clear()
    assert_is_stand_in(load_mnist(), "mnist", contents["mnist"])
    assert mirror.requests == []


def test_a_damaged_file_in_the_cache_is_replaced(contents, mirror, tmp_path):
    mirror.offer(contents["mnist"])
    folder = tmp_path / "cache" / "softstep" / "mnist"
    whole = gzip.compress(contents["mnist"][FILES[0]])
    put(folder, {f"{FILES[0]}.gz": whole[:-9]})
    assert_is_stand_in(load_mnist(), "mnist", contents["mnist"])
    assert gzip.decompress((folder / f"{FILES[0]}.gz").read_bytes()) == contents["mnist"][FILES[0]]


def test_the_next_mirror_is_tried_when_one_fails(contents, mirror, monkeypatch):
    mirror.offer(contents["mnist"])
    monkeypatch.setitem(download.MIRRORS, "mnist", (f"{mirror.url}gone/", mirror.url))
    assert_is_stand_in(load_mnist(), "mnist", contents["mnist"])


def test_a_download_cut_off_is_refused_and_not_kept(contents, mirror, tmp_path):
    mirror.offer(contents["mnist"])
    page = f"/{FILES[0]}.gz"
    whole = mirror.pages[page]
    mirror.announced[page] = len(whole)
    mirror.pages[page] = whole[:-5]
    with pytest.raises(
        DatasetError, match=rf"broken off after {len(whole) - 5} of {len(whole)} bytes"
    ):
        load_mnist()
    assert cached(tmp_path) == []


def test_a_download_with_the_wrong_hash_is_refused_and_not_kept(contents, mirror, tmp_path):
    mirror.offer(contents["mnist"])
    page = f"/{FILES[0]}.gz"
    mirror.pages[page] = mirror.pages[page][:-9] + b"\0" + mirror.pages[page][-8:]
    with pytest.raises(DatasetError, match=r"127.0.0.1\S+ \(SHA-256 differs\)"):
        load_mnist()
    assert cached(tmp_path) == []


def test_a_mirror_that_does_not_answer_is_given_up(contents, mirror, monkeypatch):
    silent = threading.Event()
    monkeypatch.setattr(download, "TIMEOUT_S", 0.05)

    class Pages(dict):
        def __contains__(self, path):
            silent.wait(5)
            return False

    mirror.pages = Pages()
    try:
        with pytest.raises(DatasetError, match=r"127.0.0.1\S+ \(timed out\)"):
            load_mnist()
    finally:
        silent.set()


def test_mirrors_are_asked_over_tls_alone():
    urls = [url for urls in download.MIRRORS.values() for url in urls]
    assert urls
    assert all(url.startswith("https://") for url in urls)


def test_it_is_sent_on_over_tls_alone(contents, mirror, tmp_path):
    mirror.offer(contents["mnist"])
    page = f"/{FILES[0]}.gz"
    mirror.pages["/elsewhere"] = mirror.pages[page]
    mirror.pages[page] = f"{mirror.url}elsewhere"
    with pytest.raises(
        DatasetError, match=r"sent on to http://\S+elsewhere, which is not over TLS"
    ):
        load_mnist()
    assert mirror.requests == [page]
    assert cached(tmp_path) == []


def test_what_the_mirrors_have_is_known_of_each_file():
    assert download.PACKED.keys() == download.SHA256.keys() == download.MIRRORS.keys()
    for name, files in download.SHA256.items():
        assert download.PACKED[name].keys() == files.keys()
        assert sum(size for size, _ in download.PACKED[name].values()) < 32_000_000


def test_a_mirror_that_never_ends_is_given_up(contents, mirror, tmp_path):
    mirror.offer(contents["mnist"])
    size = len(mirror.pages[f"/{FILES[0]}.gz"])
    mirror.pages[f"/{FILES[0]}.gz"] = bytes(1 << 20)
    with pytest.raises(DatasetError, match=rf"127.0.0.1\S+ \(more than the {size} bytes"):
        load_mnist()
    assert cached(tmp_path) == []


def test_of_a_download_nothing_is_unpacked_before_its_hash_is_right(
    contents, mirror, tmp_path, monkeypatch
):
    def unpacked(content, most):
        raise AssertionError("it was unpacked")

    mirror.offer(contents["mnist"])
    bomb = gzip.compress(bytes(1 << 24))
    mirror.pages[f"/{FILES[0]}.gz"] = bomb
    monkeypatch.setitem(download.PACKED["mnist"], FILES[0], (len(bomb), "0" * 64))
    monkeypatch.setattr(download.idx, "uncompressed", unpacked)
    with pytest.raises(DatasetError, match=r"127.0.0.1\S+ \(SHA-256 differs\)"):
        load_mnist()
    assert cached(tmp_path) == []


def test_a_bomb_in_place_of_a_file_on_this_machine_is_not_unpacked(contents, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MOST_BYTES", 100_000)
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path))
    put(tmp_path, {FILES[0]: bytes(1 << 24)}, packed=True)
    with pytest.raises(DatasetError, match=r"hold more than the 100,000 bytes expected"):
        load_mnist()


def test_a_mirror_that_drips_is_given_up(contents, mirror, tmp_path, monkeypatch):
    mirror.offer(contents["mnist"])
    ended = threading.Event()

    def drip(body):
        for byte in body:
            if ended.wait(0.3):
                return
            yield bytes([byte])

    mirror.parts = drip
    monkeypatch.setattr(download, "SLOWEST", 1e12)
    monkeypatch.setattr(download, "TIMEOUT_S", 1.0)
    start = time.monotonic()
    try:
        with pytest.raises(DatasetError, match=r"too slow: [\d,]+ bytes so far"):
            load_mnist()
    finally:
        ended.set()
    assert time.monotonic() - start < 9  # on a busy machine; until its end it would take longer
    assert cached(tmp_path) == []


def test_a_mirror_that_keeps_up_has_more_time_the_more_it_has_sent(contents, mirror, monkeypatch):
    mirror.offer(contents["mnist"])
    monkeypatch.setattr(download, "SLOWEST", 0.01)
    assert_is_stand_in(load_mnist(), "mnist", contents["mnist"])


def test_a_mirror_that_cannot_be_reached_is_a_reason_not_a_crash(contents, mirror, monkeypatch):
    unused = mirror.url.replace("127.0.0.1", "127.0.0.1.invalid")
    monkeypatch.setitem(download.MIRRORS, "mnist", (unused,))
    with pytest.raises(DatasetError, match=r"\.invalid\S+ \(<urlopen error"):
        load_mnist()


def test_an_answer_that_is_not_http_is_a_reason_not_a_crash(contents, mirror, monkeypatch):
    def garbled(*args, **kwargs):
        raise http.client.BadStatusLine("garbled")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", garbled)
    with pytest.raises(DatasetError, match=r"\(BadStatusLine: garbled\)"):
        load_mnist()


@pytest.mark.parametrize("moment", ["read", "replace"])
def test_an_interrupt_leaves_nothing_in_the_cache(moment, contents, mirror, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    mirror.offer(contents["mnist"])
    if moment == "read":
        monkeypatch.setattr("http.client.HTTPResponse.read1", interrupt)
    else:
        monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_mnist()
    assert cached(tmp_path) == []


@pytest.mark.parametrize("read", [load_mnist, lambda: load("mnist")])
def test_a_cache_that_cannot_be_written_does_not_stop_loading(
    read, contents, mirror, tmp_path, monkeypatch
):
    mirror.offer(contents["mnist"])
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be kept in the cache") as found:
        data = read()
    assert {warning.filename for warning in found} == {__file__}  # whoever asked for the data
    assert_is_stand_in(data, "mnist", contents["mnist"])


def test_a_full_disk_does_not_stop_loading_and_leaves_no_half_file(
    contents, mirror, tmp_path, monkeypatch
):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    mirror.offer(contents["mnist"])
    monkeypatch.setattr("os.fsync", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        data = load_mnist()
    assert_is_stand_in(data, "mnist", contents["mnist"])
    assert cached(tmp_path) == []


def test_no_home_folder_does_not_stop_loading(contents, mirror, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    mirror.offer(contents["mnist"])
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", homeless)
    assert_is_stand_in(load_mnist(), "mnist", contents["mnist"])


class Screen(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_progress_bar_is_drawn_on_a_terminal_alone(is_terminal, contents, mirror, monkeypatch):
    mirror.offer(contents["mnist"])
    monkeypatch.setattr(sys, "stderr", Screen(is_terminal))
    load_mnist()
    shown = sys.stderr.getvalue()
    if is_terminal:
        assert shown.count("\n") == 4
        assert f"{FILES[0]}.gz [####################] 0.0 of 0.0 MB" in shown
    else:
        assert shown == ""


# Files of the user's own.


@pytest.fixture
def table():
    """Six rows of three features, and labels."""
    return np.arange(18.0).reshape(6, 3) / 4, np.array([0, 2, 1, 1, 0, 2])


def test_npz_with_held_out_rows(tmp_path, table):
    X, y = table
    path = tmp_path / "own.npz"
    np.savez(path, X_train=X[:4], y_train=y[:4], X_test=X[4:], y_test=y[4:])
    data = load_file(path)
    assert data.name == "own.npz"
    np.testing.assert_array_equal(data.X_train, X[:4])
    np.testing.assert_array_equal(data.y_train, y[:4])
    np.testing.assert_array_equal(data.X_test, X[4:])
    np.testing.assert_array_equal(data.y_test, y[4:])


@pytest.mark.parametrize("names", [("X", "y"), ("X_train", "y_train")])
def test_npz_without_held_out_rows_keeps_its_dtypes(names, tmp_path, table):
    X, y = table[0].astype(np.uint8), np.array(list("acbbac"))
    np.savez_compressed(tmp_path / "own.npz", **dict(zip(names, (X, y), strict=True)))
    data = load_file(str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(data.X_train, X)
    np.testing.assert_array_equal(data.y_train, y)
    assert data.X_train.dtype == np.uint8
    assert data.X_test is None
    assert data.y_test is None


def test_npy_features_are_memory_mapped_and_read_only(tmp_path, table):
    X, y = table
    np.save(tmp_path / "X.npy", X.astype(np.float16))
    np.save(tmp_path / "y.npy", y)
    data = load_file(tmp_path / "X.npy", labels=tmp_path / "y.npy")
    np.testing.assert_array_equal(data.X_train, X)
    np.testing.assert_array_equal(data.y_train, y)
    assert data.X_train.dtype == np.float16
    assert isinstance(data.X_train, np.memmap)
    assert not data.X_train.flags.writeable


@pytest.mark.parametrize("names", [("x-idx3-ubyte", "y-idx1-ubyte"), ("x.idx", "y.idx")])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_images_and_labels(names, packed, tmp_path):
    images = np.arange(30, dtype=np.uint8).reshape(5, 2, 3)
    labels = np.array([3, 0, 255, 7, 7])
    put(tmp_path, dict(zip(names, map(idx_bytes, (images, labels)), strict=True)), packed)
    X_path, y_path = (tmp_path / (name + ".gz" * packed) for name in names)
    data = load_file(X_path, labels=y_path)
    np.testing.assert_array_equal(data.X_train, images.reshape(5, 6))
    np.testing.assert_array_equal(data.y_train, labels)
    assert data.X_train.dtype == np.uint8
    assert data.y_train.dtype == np.int64
    assert data.image_shape == (2, 3)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "header", ["", "\ufeff", "width,height,kind\n", '"a, b",c,d\n', "\ufeffa,b,c\n"]
)
def test_csv_is_read_with_or_without_a_header(header, tmp_path):
    data = load_file(write(tmp_path / "own.csv", header + "1,2.5,7\n-3e2, 0.1,9\n\nnan,inf,7\n"))
    np.testing.assert_array_equal(data.X_train, [[1, 2.5], [-300, 0.1], [np.nan, np.inf]])
    np.testing.assert_array_equal(data.y_train, [7, 9, 7])
    assert data.X_train.dtype == np.float64
    assert data.y_train.dtype == np.int64
    assert (data.name, data.X_test, data.y_test) == ("own.csv", None, None)


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["cat", "dog ", "10"], np.array(["cat", "dog", "10"])),
        (["-1", "1", "-1"], np.array([-1, 1, -1])),
        (["0.00e+00", "1.00e+00", "2.00e+00"], np.array([0, 1, 2])),
        (["9007199254740993", "9007199254740992", "1"], np.array([2**53 + 1, 2**53, 1])),
        (["1e18", "1", "2"], np.array(["1e18", "1", "2"])),
        (["01", "1", "2"], np.array(["01", "1", "2"])),
        (["007", "008", "007"], np.array(["007", "008", "007"])),
        (["9" * 400, "1", "2"], np.array(["9" * 400, "1", "2"])),
        (["9" * 5000, "1", "2"], np.array(["9" * 5000, "1", "2"])),
        (["9007199254740993.0", "9e15"], np.array(["9007199254740993.0", "9e15"])),
        (
            ["12345678901234567890", "12345678901234567891"],
            np.array([12345678901234567890, 12345678901234567891], np.uint64),
        ),
        (
            ["92233720368547758070", "92233720368547758071"],
            np.array(["92233720368547758070", "92233720368547758071"]),
        ),
        (
            ["9007199254740993", "9007199254740992.0"],
            np.array(["9007199254740993", "9007199254740992.0"]),
        ),
        (["9007199254740993", "2.0"], np.array([2**53 + 1, 2])),
        (["1_0", "10", "11"], np.array(["1_0", "10", "11"])),
    ],
)
def test_csv_labels_are_whole_numbers_where_those_tell_them_apart_else_text(
    cells, labels, tmp_path
):
    path = write(tmp_path / "own.csv", "".join(f"1,2,{cell}\n" for cell in cells))
    y = load_file(path).y_train
    assert y.dtype == labels.dtype
    assert y.tolist() == labels.tolist()


ROWS = "5,2,1\n6,3,0\n5,4,1\n"


@pytest.mark.parametrize(
    ("header", "label", "column", "names"),
    [
        ("label,pixel0,pixel1\n", None, 0, ("pixel0", "pixel1")),
        ("a,Class,b\n", None, 1, ("a", "b")),
        ("a,b,c\n", "a", 0, ("b", "c")),
        ("a,b,c\n", "0", 0, ("b", "c")),
        ("a,b,c\n", "-2", 1, ("a", "c")),
        ("a,b,c\n", None, 2, ("a", "b")),
        ("0,1,2\n", None, 2, ("0", "1")),
        ("0,1,label\n", None, 2, ("0", "1")),
        ("label,0,1\n", None, 0, ("0", "1")),
        ("", "0", 0, ()),
        ("", "-1", 2, ()),
        ("", None, 2, ()),
    ],
)
def test_the_label_of_a_csv_is_the_column_that_is_named(header, label, column, names, tmp_path):
    told = []
    path = write(tmp_path / "own.csv", header + ROWS)
    data = load_file(path, label=label, tell=told.append)
    values = np.array([[5, 2, 1], [6, 3, 0], [5, 4, 1]])
    np.testing.assert_array_equal(data.y_train, values[:, column])
    np.testing.assert_array_equal(data.X_train, np.delete(values, column, axis=1))
    assert getattr(data.X_train, "columns", ()) == names
    (sentence,) = told
    assert sentence.startswith("own.csv: 3 rows of 2 features; ")
    assert ("header in line 1" in sentence) == bool(header)
    assert f"label in column {column + 1}" in sentence


@pytest.mark.parametrize(
    ("header", "rows", "count"),
    [
        ("0,1,2,label\n", "1.5,2,3,cat\n4,5,6,dog\n", 2),
        ("0,1,2,kind\n", "1.5,2,3,cat\n4,5,6,dog\n", 2),
        ("", "0,1,2,cat\n4,5,6,cat\n1,1,1,dog\n", 3),
        ("", "5.1,3.5,setosa\n5,3,virginica\n", 2),
        ("a,b,nan\n", "1,2,cat\n4,5,dog\n", 2),
        ("", "1,2,a\n3,4,b\n", 2),
    ],
)
def test_a_header_is_told_by_the_rows_that_follow(header, rows, count, tmp_path):
    data = load_file(write(tmp_path / "own.csv", header + rows))
    assert len(data.X_train) == count


@pytest.mark.parametrize(
    ("label", "words"),
    [("c", "no column 'c'"), ("7", "no column 7"), ("-4", "no column -4"), ("", "no column ''")],
)
def test_a_label_column_that_is_not_there_is_named(label, words, tmp_path):
    path = write(tmp_path / "own.csv", "a,b,kind\n" + ROWS)
    refused(lambda: load_file(path, label=label), path, words)
    np.savez(tmp_path / "own.npz", X=np.ones((2, 3)), y=[0, 1])
    refused(lambda: load_file(tmp_path / "own.npz", label="a"), tmp_path / "own.npz", ".csv")


def test_a_csv_to_predict_from_is_read_by_the_names_of_its_columns(tmp_path):
    def read(header, names=("a", "b"), label=None):
        path = write(tmp_path / "own.csv", header + "5,6,7\n8,9,10\n")
        return load_features(path, 2, names, label)

    X, y = read("b,kind,a\n")
    assert (X.tolist(), X.columns, y.tolist()) == ([[7, 5], [10, 8]], ("a", "b"), [6, 9])
    X, y = read("a,kind,b\n", label="kind")
    assert (X.tolist(), y.tolist()) == ([[5, 7], [8, 10]], [6, 9])
    X, y = read("b,a,c\n", names=("a", "b", "c"))
    assert (X.tolist(), y) == ([[6, 5, 7], [9, 8, 10]], None)
    X, y = read("")
    assert (X.tolist(), y.tolist(), getattr(X, "columns", None)) == (
        [[5, 6], [8, 9]],
        [7, 10],
        None,
    )
    X, _ = read("x,y,kind\n", names=None)
    assert type(X) is np.ndarray
    path = tmp_path / "own.csv"
    refused(lambda: read("a,c,kind\n"), path, "line 1 has no column 'b'")
    refused(lambda: read("x,y,kind\n"), path, "line 1 has no column 'a'")
    refused(lambda: read("a,b,c\n", names=("a",)), path, "column 2, 'b', is no feature", "--label")
    refused(lambda: read("b,c,a\n", label="d"), path, "no column 'd'")
    refused(lambda: read("1,0\n", names=("0", "1")), path, "columns")
    path.write_text("1,0\n5,6\n")
    refused(lambda: load_features(path, 2, ("0", "1")), path, "may be a header or a row")
    path.write_text("0,5\n5,6\n")
    assert load_features(path, 2, ("0", "1"))[0].tolist() == [[0, 5], [5, 6]]


def test_csv_gives_back_the_bits_that_were_written(tmp_path):
    X = np.random.default_rng(3).normal(size=(50, 4)) * 10.0 ** np.arange(-200, 200, 100)
    lines = (",".join(map(repr, row)) + ",0\n" for row in X.tolist())
    np.testing.assert_array_equal(load_file(write(tmp_path / "a.csv", "".join(lines))).X_train, X)


# Features to predict from.


def test_features_of_npz_come_with_labels_where_there_are_any(tmp_path, table):
    X, y = table
    for arrays, expected in (
        ({"X": X}, None),
        ({"X": X, "y": y}, y),
        ({"X_test": X, "y_test": y, "X_train": X[:1], "y_train": y[:1]}, y),
    ):
        np.savez(tmp_path / "own.npz", **arrays)
        found, labels = load_features(tmp_path / "own.npz")
        np.testing.assert_array_equal(found, X)
        assert (labels is None) == (expected is None)
        if expected is not None:
            np.testing.assert_array_equal(labels, expected)


def test_features_of_npy_and_idx_have_no_labels(tmp_path, table):
    np.save(tmp_path / "X.npy", table[0])
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    (tmp_path / "x.idx").write_bytes(idx_bytes(images))
    for name, expected in (("X.npy", table[0]), ("x.idx", images.reshape(3, 4))):
        X, y = load_features(tmp_path / name)
        np.testing.assert_array_equal(X, expected)
        assert y is None


@pytest.mark.parametrize("header", ["", "a,b,c\n"])
def test_features_of_csv_have_labels_when_there_is_one_column_more(header, tmp_path):
    path = write(tmp_path / "own.csv", header + "1,2,3\n4,5,6\n")
    X, y = load_features(path, n_features=3)
    np.testing.assert_array_equal(X, [[1, 2, 3], [4, 5, 6]])
    assert y is None
    X, y = load_features(path, n_features=2)
    np.testing.assert_array_equal(X, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(y, [3, 6])


# Bad files: every message names the file.


def refused(load, path, *words, error=ValueError):
    with pytest.raises(error) as info:
        load()
    message = str(info.value)
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("load", [load_file, load_features])
def test_a_missing_file_a_folder_and_an_unknown_kind_are_named(load, tmp_path):
    missing = tmp_path / "digts.csv"
    refused(lambda: load(missing), missing, "no such file", error=FileNotFoundError)
    refused(lambda: load(tmp_path), tmp_path, "folder")
    for name in ("table.xlsx", "table.npy.gz", "idx.doc"):
        path = write(tmp_path / name, "1,2\n")
        refused(lambda path=path: load(path), path, "unknown kind of file", ".npz, .npy, .csv")


def test_labels_that_are_missing_or_not_wanted_are_named(tmp_path, table):
    X, y = table
    np.save(tmp_path / "X.npy", X)
    np.savez(tmp_path / "own.npz", X=X, y=y)
    csv, absent = write(tmp_path / "own.csv", "1,2\n"), tmp_path / "absent.npy"
    refused(lambda: load_file(tmp_path / "X.npy"), tmp_path / "X.npy", "its labels")
    refused(
        lambda: load_file(tmp_path / "X.npy", absent), absent, "no such", error=FileNotFoundError
    )
    refused(lambda: load_file(tmp_path / "X.npy", csv), csv, ".npy and IDX")
    refused(lambda: load_file(csv, tmp_path / "X.npy"), csv, "give no labels file")
    refused(lambda: load_file(tmp_path / "own.npz", csv), tmp_path / "own.npz", "no labels file")


def test_labels_of_the_wrong_number_are_named(tmp_path, table):
    X, y = table
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y[:4])
    np.save(tmp_path / "one.npy", np.int64(3))
    y_path, one = tmp_path / "y.npy", tmp_path / "one.npy"
    refused(lambda: load_file(tmp_path / "X.npy", y_path), y_path, "4 labels for 6 rows")
    refused(
        lambda: load_file(tmp_path / "X.npy", one), one, "labels, one for each row, not of shape ()"
    )


def bad_npz():
    X, y = np.ones((4, 3)), np.zeros(4, dtype=int)
    pair = {"X_train": X, "y_train": y}
    return [
        ({"X": X}, ["features only", "its labels"]),
        ({"y_train": y, "Z": X}, ["X_train and y_train", "it has y_train, Z"]),
        ({}, ["it has none"]),
        ({**pair, "X_test": X}, ["both X_test and y_test"]),
        ({**pair, "y_test": y}, ["both X_test and y_test"]),
        ({"X": X, "y": y[:3]}, ["y has 3 labels for 4 rows"]),
        ({**pair, "X_test": X, "y_test": y[:2]}, ["y_test has 2 labels for 4 rows"]),
        ({**pair, "X_test": X[:, :2], "y_test": y}, ["X_test has 2 features", "X_train has 3"]),
        ({"X": X[0], "y": y}, ["X must be 2-D", "(3,)"]),
        ({"X": X[:0], "y": y[:0]}, ["X is empty", "(0, 3)"]),
        ({"X": X, "y": np.array([None] * 4)}, ["cannot be read", "objects"]),
    ]


@pytest.mark.parametrize(("arrays", "words"), bad_npz())
def test_what_is_wrong_with_an_npz_is_said(arrays, words, tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    refused(lambda: load_file(path), path, *words)


def test_features_missing_from_an_npz_are_said(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, X_train=np.ones((2, 2)))
    refused(lambda: load_features(path), path, "X and y or X_test", "it has X_train")


@pytest.mark.parametrize("name", ["own.npz", "own.npy"])
def test_damaged_arrays_are_named(name, tmp_path):
    path, whole = tmp_path / name, io.BytesIO()
    if name == "own.npz":
        np.savez_compressed(whole, X=np.random.default_rng(0).random((9, 9)), y=np.zeros(9))
    else:
        np.save(whole, np.ones((9, 9)))
    content = whole.getvalue()
    flipped = bytearray(content)
    flipped[len(content) // 4] ^= 255
    damaged = [b"", b"text", content[:-30], content[:100]]
    for bad in [*damaged, bytes(flipped)] if name == "own.npz" else damaged:
        path.write_bytes(bad)
        refused(lambda: load_features(path), path)


def test_pickled_objects_are_never_loaded(tmp_path):
    X, y = tmp_path / "X.npy", tmp_path / "y.npy"
    np.save(X, np.ones((1, 1)))
    np.save(y, np.array([object()]), allow_pickle=True)
    refused(lambda: load_features(y), y, "objects")
    refused(lambda: load_file(X, labels=y), y, "objects")


@pytest.mark.parametrize("shape", [(), (4,), (4, 2, 2), (0, 3), (3, 0)])
def test_features_that_are_not_2_d_or_empty_are_named(shape, tmp_path):
    path = tmp_path / "own.npy"
    np.save(path, np.ones(shape))
    refused(lambda: load_features(path), path)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a,b,c\n1,2,3\n4,5\n", ": line 3 ", ["has 2 columns", "has 3"]),
        ("1,2,3\n4,5,6,7\n", ": line 2 ", ["has 4 columns"]),
        (
            "1,2,3\n4,five,6\n",
            ": line 2, column 2: ",
            ["'five' is not a number: take", "--label 1"],
        ),
        ("1,2,3\n\n4,,6\n", ": line 3, column 2: ", ["'' is not a number: fill it in"]),
        ("1,2,3\n4,5_0,6\n", ": line 2, column 2: ", ["'5_0' is not a number"]),
        ("1,two,3\n4,5,6\n", ": line 1, column 2: ", ["'two' is not a number"]),
        (",a,label\n0,1,2\n", ": line 1, column 1 ", ["has no name", "index=False"]),
        ("Unnamed: 0,a,label\n0,1,2\n", ": line 1, column 1 ", ["has no name", "index=False"]),
        ("a,,label\n0,1,2\n", ": line 1, column 2 ", ["has no name"]),
        ("a,a,label\n0,1,2\n", ": line 1: ", ["two columns are named 'a'"]),
        ("".join(f"{i},2,{i % 2}\n" for i in range(10)), ": line 1, column 1 ", ["count the rows"]),
        (",2,5\n3,4,6\n", ": line 1, column 1: ", ["'' is not a number"]),
        ("NA,cat\n4,dog\n", ": line 1, column 1: ", ["'NA' is not a number"]),
        ("five,cat\n4,cat\n", ": line 1, column 1: ", ["'five' is not a number"]),
        ("7,8,cat\n1,2,3\n4,5,6\n", ": line 1 ", ["may be a header or a row", "'cat'"]),
        ("0,1,5\n1,2,nan\n", ": line 2: ", ["the label, in column 3, is 'nan'"]),
        ("0,1,a\n1,2,-INF\n", ": line 2: ", ["is '-INF'"]),
        ("0,1,a\n1,2,NULL\n", ": line 2: ", ["is 'NULL'"]),
        ("class,label,x\n1,2,3\n", ": line 1: ", ["columns 1 and 2 may both", "--label"]),
        ("target,b,class\n1,2,3\n", ": line 1: ", ["columns 1 and 3 may both", "--label"]),
        ("1,2,0.5\n1,2,3\n", ": line 1: ", ["in column 3, is 0.5", "not a whole", "--label"]),
        ("a,b,c\n1,2,3\n1,2,-2.5\n", ": line 3: ", ["is -2.5", "regression"]),
        ("0,1,a\n1,2,None\n", ": line 2: ", ["is 'None'"]),
        ("0,1,label\n3,4,5\n0,1,label\n", ": line 3 ", ["is the header again"]),
        ("5,6,kind\n" + "1,2,a\n" * 9 + "3,4,b\n" * 9, ": line 1 ", ["may be a header or a row"]),
        ('1,2,a\n3,4,"b\n5,6,c\n', ": line 2: ", ["quotation mark is not closed"]),
        ('1,2,"a\n' + "3,4,b\n" * 50 + '5,6,"c\n', ": line 1: ", ["quotation mark"]),
        ('1,2,"a\n' + "3,4,b\n" * 50_000, ": line 1: ", ["quotation mark"]),
        ("1,2,\n", ": line 1: ", ["label", "empty"]),
        ("12\n34\n", ": line 1 ", ["one column"]),
        ("", ": ", ["no rows"]),
        ("a,b,c\n", ": ", ["no rows"]),
        ('1,"2\n3",4\n', ": line 1: ", ["quotation mark is not closed"]),
    ],
)
def test_the_line_and_column_of_a_fault_in_a_csv_are_named(text, where, words, tmp_path):
    path = write(tmp_path / "own.csv", text)
    with pytest.raises(ValueError, match=r"own\.csv") as info:
        load_file(path)
    assert str(info.value).startswith(f"{path}{where}")
    for word in words:
        assert word in str(info.value)


def test_a_csv_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(b"\xff\xfe1,2\n")
    refused(lambda: load_file(path), path, "not a text file of comma-separated values")


def test_a_csv_of_the_wrong_width_for_the_model_is_named(tmp_path):
    path = write(tmp_path / "own.csv", "1,2,3\n")
    refused(lambda: load_features(path), path, "n_features")
    for n_features in (1, 4):
        refused(
            lambda n=n_features: load_features(path, n_features=n),
            path,
            f"expected {n_features} features, or {n_features + 1} columns",
        )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (idx_bytes(np.ones((4, 3, 2)))[:-1], ["truncated", "39 bytes", "[4, 3, 2]", "says 40"]),
        (idx_bytes(np.ones((4, 3, 2))) + b"x", ["too long", "40 bytes"]),
        (idx_bytes(np.ones((4, 3, 2)))[:10], ["truncated", "10 bytes"]),
        (b"", ["truncated", "0 bytes"]),
        (idx_bytes(np.ones(4)), ["not an IDX file of images", "2049, not 2051"]),
        (gzip.compress(idx_bytes(np.ones((4, 3, 2))), mtime=0)[:-4], ["gzip", "cut off"]),
        (gzip.compress(bytes(1000), mtime=0)[:-12] + bytes(12), ["gzip", "damaged"]),
        (idx_bytes(np.ones((0, 3, 2))), ["empty"]),
    ],
)
def test_what_is_wrong_with_idx_images_is_said(content, words, tmp_path):
    path = tmp_path / "x.idx"
    path.write_bytes(content)
    refused(lambda: load_features(path), path, *words)


def test_what_is_wrong_with_idx_labels_is_said(tmp_path):
    images, labels = tmp_path / "x.idx", tmp_path / "y.idx"
    images.write_bytes(idx_bytes(np.ones((4, 3, 2))))
    for content, word in (
        (idx_bytes(np.ones((4, 3, 2))), "not an IDX file of labels"),
        (idx_bytes(np.ones(5)), "5 labels for 4 rows"),
        (idx_bytes(np.ones(4))[:-1], "truncated"),
    ):
        labels.write_bytes(content)
        refused(lambda: load_file(images, labels), labels, word)


def test_importing_the_data_sets_loads_nothing_slow():
    code = (
        "import sys, softstep.model.datasets\n"
        "slow = {'urllib.request', 'http.client', 'ssl', 'csv', 'numba', 'sklearn'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_load_takes_a_name_or_a_file(tmp_path):
    assert load("digits").name == "digits"
    np.savez(tmp_path / "own.npz", X=np.ones((2, 3)), y=[0, 1])
    assert load(tmp_path / "own.npz").X_train.shape == (2, 3)
    with pytest.raises(FileNotFoundError, match=r"cifar: neither a data set \(digits, mnist, "):
        load("cifar")
    with pytest.raises(ValueError, match="digits has its own labels"):
        load("digits", labels="y.npy")


def test_rows_held_out_are_drawn_with_the_seed_and_none_is_lost():
    data = Dataset("own", np.arange(20).reshape(10, 2), np.arange(10), None, None, (2, 1))
    held = hold_out(data, fraction=0.2, seed=1)
    assert (held.name, held.image_shape) == ("own", (2, 1))
    assert (len(held.X_train), len(held.X_test)) == (8, 2)
    assert sorted([*held.y_train, *held.y_test]) == list(range(10))
    assert np.array_equal(held.X_test[:, 0], 2 * held.y_test)
    assert np.array_equal(held.y_test, hold_out(data, fraction=0.2, seed=1).y_test)
    with pytest.raises(ValueError, match="too few"):
        hold_out(data, fraction=0.01, seed=1)
