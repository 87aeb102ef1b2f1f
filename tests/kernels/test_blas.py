"""Promise: an optimum has the same bits whatever threads BLAS and the kernels may use."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from softstep import SoftmaxRegression
from softstep.kernels import blas

RNG = np.random.default_rng(0)
N, D, C = 1500, 300, 10  # large enough for BLAS to share its products out
X = RNG.standard_normal((N, D)).astype("f4")
Y = (X[:, :C] + RNG.standard_normal((N, C))).argmax(axis=1)


def threads_of_blas():
    return set(blas.counts())


def put(count):
    for _, put_one in blas._libraries():
        put_one(count)


@pytest.fixture
def two_threads():
    before = blas.counts()
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
        assert blas.counts()


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
