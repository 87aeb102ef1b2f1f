"""Promise: features larger than memory train in shuffled blocks, within the memory given."""

import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from softstep import SoftmaxSweep
from softstep.model import blocks, trainer
from softstep.model.blocks import Layout
from softstep.model.optimum import problem, proof
from softstep.model.sweep import results as sweep_results

N, D, C = 1003, 6, 3
RNG = np.random.default_rng(0)
Y = np.sort(RNG.integers(C, size=N))  # as files often are: sorted by label
X = (2 * RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
LAYOUT = Layout(chunk_rows=7, block_chunks=11)


def documented_order(seed, epoch, n, layout):
    rng = np.random.default_rng((seed, 1, epoch))
    chunks = rng.permutation(-(-n // layout.chunk_rows))
    order = []
    for block in np.array_split(chunks, -(-len(chunks) // layout.block_chunks)):
        rows = [
            row
            for chunk in sorted(block)
            for row in range(chunk * layout.chunk_rows, (chunk + 1) * layout.chunk_rows)
            if row < n
        ]
        order += np.array(rows)[rng.permutation(len(rows))].tolist()
    return np.array(order)


@pytest.mark.parametrize("n", [1, 6, 7, 76, 77, 78, N])
def test_the_order_is_the_documented_one_and_visits_every_row_once(n):
    order = blocks.row_order(5, 2, n, LAYOUT)
    assert np.array_equal(order, documented_order(5, 2, n, LAYOUT))
    assert np.array_equal(np.sort(order), np.arange(n))


def test_labels_sorted_in_the_file_are_mixed_in_every_part_of_an_epoch():
    n = 100_000
    labels = np.arange(n) * 10 // n
    order = blocks.row_order(0, 0, n, Layout(chunk_rows=100, block_chunks=64))
    for part in np.array_split(labels[order], 10):
        assert np.bincount(part, minlength=10).min() > 200


def bank():
    return trainer.BankState(np.zeros((2, D, C), np.float32), np.zeros((2, C), np.float32))


def descent(backend, batch_size):
    return trainer.SGDSettings(
        ("mse", "cross_entropy"),
        np.array([0.5, 0.1]),
        batch_size,
        momentum=np.array([0.5, 0.0]),
        schedule="cosine",
        backend=backend,
    )


@pytest.mark.parametrize("batch_size", [1, 20, 77, 300, 5000])
@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_training_in_blocks_has_the_bits_of_training_in_that_order(
    backend, batch_size, steps, dtype
):
    x = X.astype(dtype) if dtype != "uint8" else np.clip(X * 20 + 128, 0, 255).astype(dtype)
    weights = np.stack([np.ones(N), np.arange(N) % 2]).astype(np.float32)
    sets = {"y_index": np.array([0, 1]), "weight_index": np.array([1, 0])}
    data = trainer.Rows(x, np.stack([Y, Y[::-1]]), weights, 1 / 255, **sets)
    settings = descent(backend, batch_size)
    total = trainer.planned_steps(N, batch_size, 1, steps)
    in_blocks, whole = bank(), bank()
    found = blocks.run_epoch(
        data, in_blocks, settings, 4, seed=9, layout=LAYOUT, done=0, total=total
    )
    order = blocks.row_order(9, 4, N, LAYOUT)[: total * batch_size]
    figures = trainer.run_steps(data, whole, settings, order, done=0, total=total)
    sums = trainer.EpochSums(batch_size, len(order), len(whole.W))
    sums.add(*figures, len(order), data.counted(order))
    expected = sums.means(4)
    for a, b in ((in_blocks.W, whole.W), (in_blocks.b, whole.b)):
        assert np.array_equal(a, b)
        assert np.abs(a).max() > 1e-4
    for a, b in zip(in_blocks.velocity, whole.velocity, strict=True):
        assert np.array_equal(a, b)
    assert found.steps == expected.steps == total
    assert np.array_equal(found.loss, expected.loss)
    assert np.array_equal(found.accuracy, expected.accuracy)


def test_evaluating_in_blocks_agrees_with_evaluating_at_once(backend):
    masks = np.stack([np.arange(N) < 40, np.arange(N) % 3 == 0]).astype(np.float32)
    data = trainer.Rows(X, Y[None], masks, weight_index=np.array([0, 1]))
    W = RNG.standard_normal((2, D, C)).astype(np.float32)
    b = np.zeros((2, C), np.float32)
    arguments = data, W, b, descent(backend, 20)
    found, expected = blocks.evaluate(*arguments, LAYOUT), trainer.evaluate(*arguments)
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # float64 sums in another order
    assert (expected[0] > 0).all()


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def test_a_sweep_over_a_mapped_file_learns(file, backend):
    settings = {"param_grid": {"learning_rate": [0.1, 1.0]}, "epochs": 10, "random_state": 0}
    fitted = SoftmaxSweep(**settings, cv=3, memory="1.25MB", backend=backend).fit(file, Y)
    assert fitted._trained.bank.W.shape == (8, D, C)
    assert fitted.results_["mean_val_accuracy"].max() > 0.9
    again = SoftmaxSweep(**settings, cv=3, memory="1.25MB", backend=backend).fit(X, Y)
    assert np.array_equal(fitted.best_estimator_.coef_, again.best_estimator_.coef_)
    other = SoftmaxSweep(**settings, cv=3, backend=backend).fit(X, Y)
    assert not np.array_equal(fitted.best_estimator_.coef_, other.best_estimator_.coef_)


def test_a_row_that_is_not_finite_is_named(tmp_path):
    spoilt = X.copy()
    spoilt[900, 3] = np.nan
    with pytest.raises(ValueError, match=r"X\[900, 3\] is nan"):
        SoftmaxSweep({}, cv=2, memory="1.25MB", random_state=0).fit(spoilt, Y)


def test_interrupting_leaves_no_thread_behind(file):
    def interrupt(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SoftmaxSweep({}, cv=2, memory="1.25MB").fit(file, Y, callback=interrupt)
    assert not [t for t in threading.enumerate() if t.name.startswith("softstep-read")]


def test_where_no_thread_can_be_started_blocks_are_read_as_they_are_needed(monkeypatch):
    def trained():
        found = bank()
        given = trainer.Rows(X, Y[None]), found, descent("numpy", 20), 0
        blocks.run_epoch(*given, seed=9, layout=LAYOUT, done=0, total=-(-N // 20))
        return found.W

    def refuse(self):
        raise RuntimeError("can't start new thread")

    expected = trained()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert np.array_equal(trained(), expected)


def test_an_error_while_reading_is_raised_where_it_is_used(monkeypatch):
    def broken(X):
        def release(start, stop):
            raise OSError("the disk is gone")

        return release

    monkeypatch.setattr(blocks, "page_release", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        SoftmaxSweep({}, cv=2, memory="1.25MB").fit(X, Y)


@pytest.mark.parametrize(
    ("memory", "error", "message"),
    [
        ("1 TB", ValueError, "such as '1.5 GB'"),
        ("lots", ValueError, "such as '1.5 GB'"),
        (0, ValueError, "above zero"),
        (True, TypeError, "memory must be bytes"),
        (1.5e9, TypeError, "memory must be bytes"),
        ("1 MB", ValueError, "is too little: this sweep needs"),
    ],
)
def test_a_memory_that_makes_no_sense_is_refused(memory, error, message):
    with pytest.raises(error, match=message):
        SoftmaxSweep({}, cv=2, memory=memory).fit(X, Y)


def test_the_memory_that_is_said_to_be_needed_is_enough():
    with pytest.raises(ValueError, match="needs") as refused:
        SoftmaxSweep({}, cv=2, memory=1).fit(X, Y)
    needed = int(str(refused.value).partition("needs ")[2].split()[0])
    SoftmaxSweep({}, cv=2, memory=needed, epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match=f"needs {needed}"):
        SoftmaxSweep({}, cv=2, memory=needed - 1).fit(X, Y)


def test_too_little_memory_is_refused_before_it_is_used():
    n = 400_000
    rows, labels = np.zeros((n, 2), np.float16), np.arange(n, dtype=np.int64) % 2
    for settings in ({"cv": 20}, {"n_bootstrap": 20}):
        tracemalloc.start()
        with pytest.raises(ValueError, match="is too little: this sweep needs"):
            SoftmaxSweep({}, memory="20MB", **settings).fit(rows, labels)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000_000  # the splits alone are 20 × 0.4 MB × 7


def test_the_memory_that_is_said_to_be_needed_does_for_the_splits_too():
    n = 400_000
    rows, labels = np.zeros((n, 2), np.float16), np.arange(n, dtype=np.int64) % 2
    rows[:, 0] = labels
    with pytest.raises(ValueError, match="needs") as refused:
        SoftmaxSweep({}, cv=20, memory=1).fit(rows, labels)
    needed = int(str(refused.value).partition("needs ")[2].split()[0])
    SoftmaxSweep({}, cv=20, memory="90MB", max_steps=1).fit(rows[:5000], labels[:5000])  # compiles
    tracemalloc.start()
    SoftmaxSweep({}, cv=20, memory=needed, max_steps=1).fit(rows, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert needed / 4 < peak < needed


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_maps_whose_pages_would_stay_are_refused(file, mode, tmp_path):
    other = np.load(tmp_path / "X.npy", mmap_mode=mode)
    with pytest.raises(ValueError, match="open X with mmap_mode='r'"):
        SoftmaxSweep({}, cv=2, memory="2MB").fit(other, Y)
    with pytest.raises(ValueError, match="open X_val with mmap_mode='r'"):
        SoftmaxSweep({}, memory="2MB").fit(file, Y, X_val=other, y_val=Y)


def test_held_out_rows_of_another_type_are_converted_block_by_block():
    wide = np.tile(X.astype(np.float64), (200, 1))  # 9.6 MB
    labels = np.tile(Y, 200)
    settings = {"param_grid": {"learning_rate": [0.1, 1.0]}, "epochs": 1, "random_state": 0}
    at_once = SoftmaxSweep(**settings, memory="50MB").fit(
        X, Y, X_val=wide.astype(np.float32), y_val=labels
    )
    tracemalloc.start()
    in_blocks = SoftmaxSweep(**settings, memory="4MB").fit(X, Y, X_val=wide, y_val=labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    for name in ("mean_val_loss", "mean_val_accuracy"):
        found, expected = in_blocks.results_[name], at_once.results_[name]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("text", ["1.5GB", " 1500 MB ", "1500000 kB", 1_500_000_000])
def test_sizes_are_read(text):
    assert blocks.size_in_bytes(text) == 1_500_000_000


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (X.astype(np.int32), TypeError),
        (X.tolist(), TypeError),
        (np.asfortranarray(X), ValueError),
        (X.astype(">f4"), ValueError),
        (X[:, 0], ValueError),
    ],
)
def test_what_cannot_be_read_in_blocks_is_refused(rows, error):
    with pytest.raises(error):
        SoftmaxSweep({}, cv=2, memory="1MB").fit(rows, Y)


def test_the_kind_of_features_is_told_by_rows_of_the_whole_file():
    labels = np.arange(3000) % 3
    unit = RNG.random((3000, 4), np.float32)
    sorted_rows, pixels = unit.copy(), np.zeros((3000, 4), np.uint8)
    sorted_rows[2000:] *= 5
    pixels[2000:] = 200
    sweep = SoftmaxSweep({}, cv=2, memory="20MB", max_steps=1)
    assert sweep.fit(sorted_rows, labels).learned_from_ == "floats beyond [0, 1]"
    assert sweep.fit(unit, labels).learned_from_ == "floats within [0, 1]"
    sweep.set_params(cv=None).fit(unit, labels, X_val=pixels, y_val=labels)  # not taken for 0 and 1


MEASURE = """
import resource, sys, numpy as np
from softstep import SoftmaxSweep
X = np.load(sys.argv[1], mmap_mode="r")
y = np.arange(len(X)) % 3
settings = dict(param_grid={"learning_rate": [0.1, 0.2]}, cv=2, epochs=1, random_state=0)
warm = SoftmaxSweep(**settings, memory="4MB").fit(np.ascontiguousarray(X[:3000]), y[:3000])
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
open("/proc/self/clear_refs", "w").write("5")  # the peak anew
before = peak()
SoftmaxSweep(**settings, memory=int(sys.argv[2])).fit(X, y)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_stays_within_the_memory_it_was_given(tmp_path):
    n, d, memory = 400_000, 128, 40_000_000
    file = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float16, (n, d))
    for start in range(0, n, 50_000):
        file[start : start + 50_000] = RNG.standard_normal((50_000, d))
    del file  # 102 MB
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "X.npy"), str(memory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 10_000_000 < int(done.stdout) < memory


def test_certificates_take_what_is_counted_for_them_and_no_more(monkeypatch):
    d, c, rates = 300, 10, np.geomspace(1e-3, 0.1, 128).tolist()
    rows = RNG.standard_normal((2000, d)).astype(np.float32)
    labels = np.arange(2000) % c
    monkeypatch.setattr(proof, "GROUP_BYTES", 2_000_000)  # 10 of the 128 heads
    for module in (proof, problem):
        monkeypatch.setattr(module, "WIDENED_VALUES", 1 << 15)
    peaks, certify = [], sweep_results.certificate

    def measured(training):
        certify(training)  # compiles
        tracemalloc.start()
        found = certify(training)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return found

    monkeypatch.setattr(sweep_results, "certificate", measured)
    grid = {"learning_rate": rates, "loss": "cross_entropy", "l2": 0.1}
    fitted = SoftmaxSweep(grid, l2_bias=True, epochs=1, random_state=0)
    fitted.fit(rows, labels, X_val=rows[:50], y_val=labels[:50])
    assert np.isfinite(fitted.results_["bound"]).all()
    needed = proof.bytes_needed(len(rows), 128, d, c)
    assert needed < 11_000_000  # all heads at once would take 128 × 3010 × 8 × 4 = 12.3 MB
    assert needed / 4 < peaks[0] < needed


def test_what_is_read_ahead_does_not_disturb_what_is_computed_on():
    for x, rows in blocks.in_order(X, Layout(chunk_rows=5, block_chunks=2)):
        assert np.array_equal(x, X[rows])
