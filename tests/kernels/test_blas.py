"""Promise: an optimum has the same bits whatever threads BLAS and the kernels may use."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from processes import is_so_in_child
from threadpoolctl import threadpool_info

from softstep import SoftmaxRegression
from softstep.kernels import blas

RNG = np.random.default_rng(0)
N, D, C = 1500, 300, 10  # large enough for BLAS to share its products out
X = RNG.standard_normal((N, D)).astype("f4")
Y = (X[:, :C] + RNG.standard_normal((N, C))).argmax(axis=1)


def counts():
    return [library.get() for library in blas._libraries()]


def threads_of_blas():
    return set(counts())


def put(count):
    for library in blas._libraries():
        library.put(count)


@pytest.fixture
def two_threads():
    before = counts()
    put(2)
    yield
    put(max(before, default=1))


def fitted(n_threads, **how):
    settings = {"solver": "lbfgs", "C": 100.0, "random_state": 0, "n_threads": n_threads}
    return SoftmaxRegression("cross_entropy", **settings).fit(X, Y, **how)


def test_an_optimum_has_the_same_bits_whatever_threads_there_are(two_threads):
    alone = fitted(1)
    assert alone.n_iter_ > 24  # it went by the curvature of each class
    for found in (fitted(3), fitted(None)):
        assert found.coef_.tobytes() == alone.coef_.tobytes()
        assert (found.objective_, found.bound_) == (alone.objective_, alone.bound_)
    put(1)
    assert fitted(1).coef_.tobytes() == alone.coef_.tobytes()
    with ThreadPoolExecutor(1) as other:  # and in whatever thread it is
        put(2)
        assert other.submit(fitted, 1).result().coef_.tobytes() == alone.coef_.tobytes()


def test_threads_of_blas_are_found():
    if any(pool["internal_api"] in ("openblas", "mkl", "blis") for pool in threadpool_info()):
        assert counts()


def test_blas_has_its_threads_again_when_the_last_is_done(two_threads):
    seen = set()
    fitted(1, callback=lambda _: seen.update(threads_of_blas()))
    assert seen <= {1}
    assert threads_of_blas() <= {2}
    with pytest.raises(ZeroDivisionError), blas.on_one_thread(), blas.on_one_thread():
        raise ZeroDivisionError
    assert threads_of_blas() <= {2}


def test_one_that_ends_while_another_goes_on_takes_no_limit_off(two_threads):
    inside, over = threading.Event(), threading.Event()

    @blas.on_one_thread()
    def wait():
        inside.set()
        over.wait(60)

    thread = threading.Thread(target=wait)
    with blas.on_one_thread():
        thread.start()
        inside.wait(60)
    assert threads_of_blas() <= {1}
    over.set()
    thread.join()
    assert threads_of_blas() <= {2}


@pytest.mark.parametrize("n_threads", [1, 2, 9])
def test_each_is_in_order_and_few_are_held_at_once(n_threads):
    held, most = set(), []

    def slow(item):
        held.add(item)
        most.append(len(held))
        time.sleep(0.01 * (item % 2))
        return item

    for place, item in enumerate(blas.each(slow, range(20), n_threads, 4)):
        assert item == place
        held.discard(item)
    assert max(most) <= min(n_threads, 4)


def test_an_error_of_one_is_raised_and_its_settings_are_those_of_the_caller():
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        list(blas.each(np.exp, np.array([1.0, 1e9, 2.0]), 2, 4))
    with np.errstate(over="ignore"):
        assert list(blas.each(np.exp, np.array([0.0, 1e9]), 2, 4)) == [1, np.inf]


@pytest.fixture
def of_callers(monkeypatch):
    """A library that each thread of Python's tells its own number, of four at first."""
    own = threading.local()
    library = blas.Library(lambda: getattr(own, "count", 4), partial(setattr, own, "count"), True)
    monkeypatch.setattr(blas, "_libraries", lambda: [library])
    return library


def test_a_library_that_each_thread_tells_its_own_number_has_one_in_each(of_callers):
    def inside():
        with blas.on_one_thread():
            return of_callers.get(), set(blas.each(lambda _: of_callers.get(), range(9), 3, 3))

    with ThreadPoolExecutor(1) as other, blas.on_one_thread():
        assert other.submit(inside).result() == (1, {1})
        assert other.submit(of_callers.get).result() == 4
        assert inside() == (1, {1})
        assert of_callers.get() == 1
    assert of_callers.get() == 4


def test_openblas_on_openmp_is_told_by_that(monkeypatch):
    class Loaded:
        omp_get_max_threads = omp_set_num_threads = "OpenMP's"
        openblas_get_num_threads = openblas_set_num_threads = "its own"

    def found(layer):
        told = {"filepath": "", "internal_api": "openblas", "threading_layer": layer}
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [told])
        return blas._libraries.__wrapped__()

    monkeypatch.setattr("ctypes.CDLL", lambda path: Loaded)
    assert found("openmp") == [("OpenMP's", "OpenMP's", True)]
    assert found("pthreads") == [("its own", "its own", False)]


def test_what_fails_or_is_interrupted_on_the_way_in_leaves_no_limit(two_threads, monkeypatch):
    libraries = blas._libraries

    def fails(count):
        libraries()[0].put(count)
        if count == 1:
            raise KeyboardInterrupt

    if not counts():
        pytest.skip("threadpoolctl knows no BLAS here")
    first, *others = libraries()
    broken = [first._replace(put=fails), *others]
    for failing in (lambda: 1 / 0, lambda: broken):
        monkeypatch.setattr(blas, "_libraries", failing)
        with pytest.raises((ZeroDivisionError, KeyboardInterrupt)), blas.on_one_thread():
            raise AssertionError
        monkeypatch.setattr(blas, "_libraries", libraries)
        assert threads_of_blas() == {2}
        with blas.on_one_thread():
            assert threads_of_blas() == {1}
        assert threads_of_blas() == {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, where it is loaded too
def test_a_forked_child_has_the_limits_of_its_own_thread_alone(two_threads):
    inside, over = threading.Event(), threading.Event()

    @blas.on_one_thread()
    def wait():
        inside.set()
        over.wait(60)

    def begins_anew():
        free = threads_of_blas() <= {2}
        with blas.on_one_thread():
            return free and threads_of_blas() <= {1}

    thread = threading.Thread(target=wait)
    thread.start()
    inside.wait(60)
    try:
        with blas._limit._lock:  # as if the other were about to leave
            assert is_so_in_child(begins_anew)
        with blas.on_one_thread():
            assert is_so_in_child(lambda: threads_of_blas() <= {1})
    finally:
        over.set()
        thread.join()


def some_threads(monkeypatch, count):
    """From here on so many can be started."""
    left, start = iter(range(count)), threading.Thread.start

    def start_or_refuse(self):
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)


@pytest.mark.parametrize("count", [0, 1])
def test_where_too_few_threads_can_be_started_the_caller_does_the_rest(count, monkeypatch):
    def slow(item):
        time.sleep(0.01)
        return -item

    some_threads(monkeypatch, count)
    assert list(blas.each(slow, range(20), 3, 3)) == [-item for item in range(20)]


def test_an_optimum_has_the_same_bits_where_no_thread_can_be_started(monkeypatch):
    expected = fitted(1)
    some_threads(monkeypatch, 0)
    assert fitted(3).coef_.tobytes() == expected.coef_.tobytes()
