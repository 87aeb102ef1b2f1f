"""The optimum over rows that MPI ranks have: rank 0 fits, and asks all ranks about their rows.

A request goes down a tree of ranks, and what they say comes up it, combined in the order of the
ranks. So only rank 0 decides anything, and ranks on unlike processors cannot come to decide
differently. In the end all have its model, or its error. Of mpi4py nothing is taken for granted but
the methods of a communicator.
"""

import contextlib
import pickle
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import Any

import numpy as np

from softstep.kernels import blas
from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.inputs import NamedColumns, ShardedRows
from softstep.model.inputs.sharded import Form, Shard, Shards, nothing
from softstep.model.resume.signals import deferred
from softstep.model.shards.own import Request, own_rows

ROWS = {"X": ("y", "sample_weight", "groups"), "X_val": ("y_val", "sample_weight_val")}
LONGEST_NAP = 0.005  # seconds, of a rank that waits
SENDING_NAP = 1e-4  # of one that sends: a piece of the message may go each time that it looks
# What an error begins with that numbers the rows of a rank, or those of all.
OF_OWN, OF_ALL = "in what rank {} gave: ", "rank {}, in the rows of all ranks: "


@dataclass(frozen=True)
class End:
    """What a fit ends with: the attributes of the model, and the error, if there was one."""

    fitted: dict[str, Any]
    error: BaseException | None


@dataclass(frozen=True)
class Failure:
    """The error of a rank, in place of what it would have said."""

    error: Exception


@dataclass(frozen=True)
class Brought:
    """What a rank was given, by name: of X and X_val the form, of targets and weights all."""

    forms: dict[str, Form | None]
    arrays: dict[str, Array | None]


def fit_over(comm: Any, model: Any, fit: Callable[..., Any], **given: Any) -> None:
    """Have rank 0 fit(**given) on the rows of all ranks, and all ranks end with its model.

    given: the rows of this rank, and what belongs to them, under the names in `ROWS`.

    Raises:
        TypeError: comm is no communicator. Whatever fit raises, and whatever was wrong with the
            rows of any rank, on all ranks.
    """
    if not all(hasattr(comm, name) for name in ("Idup", "iprobe", "isend", "recv", "Abort")):
        raise TypeError(
            f"comm must be a communicator of mpi4py, such as MPI.COMM_WORLD, not {comm!r}"
        )
    # From here on the others wait for this one.
    with deferred() as answered, contextlib.ExitStack() as stack:
        with _or_abort(comm):
            stack.enter_context(blas.on_one_thread())
            own, made = comm.Idup()
            _wait(made.Test)
            ranks = Ranks(_swift(own), given)
        if ranks.rank:
            ranks.follow(model)
            return
        error: BaseException | None = None
        try:
            with answered():
                fit(**ranks.gathered())
        except BaseException as raised:
            error = raised
            raise
        finally:
            ranks.end(model, error)


def _swift(comm: Any) -> Any:
    """The communicator; one of mpi4py's sends arrays as they lie in memory: pickled among the rest
    they would take several times as long."""
    if not type(comm).__module__.startswith("mpi4py."):
        return comm
    from mpi4py.util import pkl5

    return pkl5.Intracomm(comm)


@contextlib.contextmanager
def _or_abort(comm: Any) -> Iterator[None]:
    """Who fails within this block would leave the others waiting for ever: all are ended."""
    try:
        yield
    except BaseException:
        traceback.print_exc()
        comm.Abort(1)
        raise


class Ranks:
    """The ranks of a communicator, of which this is one; `given` is what it was given, by name.

    rows: of X and X_val, once they are `gathered`. kept: what it keeps beside them, by number.
    """

    comm: Any
    given: dict[str, Any]
    rank: int
    size: int

    def __init__(self, comm: Any, given: dict[str, Any]):
        self.comm, self.given = comm, given
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self.rows: dict[str, Any] = {}
        self.kept: dict[int, Array] = {}
        self.pieces: list[Array] = []  # on rank 0: those that it deals

    def gathered(self) -> dict[str, Any]:
        """What all ranks were given, as one process would be: rows in shards, all else whole.

        Raises:
            TypeError, ValueError: something is not as described, or not as on the other ranks.
        """
        from softstep import __version__

        self.ask(_refuse_other, __version__, combine=nothing)
        brought = self.ask(_brought, combine=_joined, where=OF_OWN)
        whole = dict(self.given)
        for name, others in ROWS.items():
            forms = [each.forms.get(name) for each in brought]
            _refuse_partly(name, forms)
            if forms[0] is not None:
                starts = [0, *accumulate(form.n for form in forms)]
                whole[name] = ShardedRows.of(OfRanks(self, name, starts), forms)
            for other in others:
                if other in whole:
                    whole[other] = _whole(other, [each.arrays.get(other) for each in brought])
        return whole

    def ask(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        combine: Callable[[Any, Any], Any],
        where: str = "rank {}: ",
    ) -> Any:
        """function(ranks, *arguments) on each rank, combined from the first to the last; on rank 0.

        where: what an error begins with, {} standing for the rank.

        Raises: what the function raises on any rank, which is named.
        """
        with deferred(), _or_abort(self.comm):
            found = self._answered(Request(function, arguments, combine, where))
        if isinstance(found, Failure):
            raise found.error
        return found

    def end(self, model: Any, error: BaseException | None) -> None:
        """Have all other ranks end with this model, and this error; on rank 0."""
        with deferred(), _or_abort(self.comm):
            own = {"_checked", *model.get_params()}  # what each rank has itself
            fitted = {name: value for name, value in vars(model).items() if name not in own}
            self._pass_on(End(fitted, None if error is None else _portable(error)))
            self.comm.Free()

    def follow(self, model: Any) -> None:
        """Answer rank 0 until the end; on all other ranks."""
        with _or_abort(self.comm):
            while True:
                request = self._received(self._parent)
                if isinstance(request, End):
                    break
                self._sent(self._answered(request), self._parent)
            self._pass_on(request)
            self.comm.Free()
            params = model.get_params()
            for name in vars(model).keys() - params.keys():
                vars(model).pop(name)
            vars(model).update(request.fitted)
        if request.error is not None:
            raise request.error

    def dealt(self, pieces: list[Array]) -> Array:
        """The piece of this rank. pieces: on rank 0 those of all."""
        with _or_abort(self.comm):
            if self.rank:
                own: Array = self._received(0)
                return own
            for rank, piece in enumerate(pieces[1:], 1):
                self._sent(piece, rank)
            return pieces[0]

    @property
    def _parent(self) -> int:
        return self.rank & (self.rank - 1)

    @property
    def _children(self) -> list[int]:
        """The ranks that this one asks, the nearest first: r + s asks those up to r + 2 s - 1."""
        children, step = [], 1
        while self.rank + step < self.size and not self.rank & step:
            children.append(self.rank + step)
            step *= 2
        return children

    def _pass_on(self, request: Any) -> None:
        for child in reversed(self._children):
            self._sent(request, child)

    def _answered(self, request: Request) -> Any:
        """What this rank says, and those that it asks, or the first `Failure` of these."""
        self._pass_on(request)
        found = self._said(request, request.function, self, *request.arguments)
        for child in self._children:
            more = self._received(child)
            if not isinstance(found, Failure):
                is_failure = isinstance(more, Failure)
                found = more if is_failure else self._said(request, request.combine, found, more)
        return found

    def _said(self, request: Request, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(*arguments), or its `Failure`."""
        try:
            return function(*arguments)
        except Exception as error:
            return Failure(_portable(error, request.where.format(self.rank)))

    def _sent(self, value: Any, rank: int) -> None:
        sending = self.comm.isend(value, rank)
        _wait(lambda: bool(sending.test()[0]), SENDING_NAP)

    def _received(self, rank: int) -> Any:
        _wait(lambda: bool(self.comm.iprobe(rank)))
        return self.comm.recv(source=rank)


class OfRanks(Shards):
    """The rows that ranks were given under a name."""

    kind = "rank"
    ranks: Ranks
    name: str
    starts: list[int]

    def __init__(self, ranks: Ranks, name: str, starts: list[int]):
        super().__init__()
        self.ranks, self.name, self.starts, self._number = ranks, name, starts, 0

    def asked(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        beside: list[Any],
        combine: Callable[[Any, Any], Any],
        finish: Callable[[Array], list[Any]] | None = None,
    ) -> Any:
        given = self.name, self.starts, beside, function, arguments
        found = self.ranks.ask(_of_rank, *given, combine=combine, where=OF_ALL)
        if finish is None:
            return found
        self.ranks.pieces = np.array_split(found, self.ranks.size)
        return self.ranks.ask(_finished, finish, combine=add)

    def deal(self, pieces: list[Array], forgotten: Any) -> Any:
        self._number += 1
        key = self.name, self._number
        self.ranks.pieces = pieces
        self.ranks.ask(_keep, key, forgotten, combine=nothing)
        return key


def _of_rank(
    ranks: Ranks,
    name: str,
    starts: list[int],
    beside: list[Any],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> Any:
    shard = Shard(ranks.rows[name], starts[ranks.rank])
    return function(shard, [ranks.kept[key] for key in beside], *arguments)


def _keep(ranks: Ranks, key: Any, forgotten: Any) -> None:
    """Keep the piece that rank 0 has for this rank."""
    ranks.kept.pop(forgotten, None)
    ranks.kept[key] = ranks.dealt(ranks.pieces)
    ranks.pieces = []


def _finished(ranks: Ranks, finish: Callable[[Array], list[Any]]) -> list[Any]:
    """What is made of the entries that rank 0 has for this rank."""
    own, ranks.pieces = ranks.dealt(ranks.pieces), []
    return finish(own)


def _refuse_other(ranks: Ranks, version: str) -> None:
    """Raise ValueError if this rank has another version."""
    from softstep import __version__

    if version != __version__:
        raise ValueError(
            f"it has softstep {__version__}, but rank 0 has {version}: install the same"
        )


def _brought(ranks: Ranks) -> list[Brought]:
    """What this rank was given, through the doors for it."""
    forms: dict[str, Form | None] = {}
    arrays: dict[str, Array | None] = {}
    for name, others in ROWS.items():
        given = ranks.given.get(name)
        if given is None and name == "X":
            raise ValueError("X is None: each rank gives its own rows")
        forms[name] = None
        if given is not None:
            ranks.rows[name], forms[name] = own_rows(given, name)
        for other in others:
            arrays[other] = _array(other, ranks.given.get(other), forms[name], name)
    return [Brought(forms, arrays)]


def _array(name: str, given: Any, form: Form | None, of: str) -> Array | None:
    """Targets, weights or groups as an array, with an entry for each row."""
    if given is None:
        return None
    if form is None:
        raise ValueError(f"give {of} and {name} together")
    if name.startswith("sample_weight"):
        weights: Array = inputs.weight_array(given, form.n, name)
        return weights
    found = given if isinstance(given, np.ndarray) else inputs.target_array(given, name)
    if isinstance(found, NamedColumns):
        raise TypeError(
            f"{name} has names of columns: over ranks give its values, {name}.to_numpy()"
        )
    if len(found) != form.n:
        raise ValueError(f"{name} has {len(found)} labels, but there are {form.n} rows")
    return found if isinstance(found, np.ma.MaskedArray) else np.asarray(found)


def _joined(one: list[Brought], other: list[Brought]) -> list[Brought]:
    return one + other


def _refuse_partly(name: str, given: list[Any]) -> None:
    """Raise ValueError if some ranks have it, and some have not."""
    without = [rank for rank, value in enumerate(given) if value is None]
    if without and len(without) < len(given):
        raise ValueError(f"rank {without[0]} has no {name}, but others have: give it on all ranks")


def _whole(name: str, parts: list[Array | None]) -> Array | None:
    """The targets or weights of all ranks, in their order."""
    _refuse_partly(name, parts)
    found = [part for part in parts if part is not None]
    if not found:
        return None
    first = found[0]
    for rank, part in enumerate(found):
        if (part.dtype.kind, part.shape[1:]) != (first.dtype.kind, first.shape[1:]):
            raise ValueError(
                f"{name} of rank {rank} is {part.dtype} of shape {part.shape}, of rank 0 it is "
                f"{first.dtype} of shape {first.shape}: give all alike"
            )
    is_masked = any(isinstance(part, np.ma.MaskedArray) for part in found)
    return np.ma.concatenate(found) if is_masked else np.concatenate(found)


def _wait(is_there: Callable[[], bool], longest: float = LONGEST_NAP) -> None:
    """Ask until it is there: at once, then after naps of a tenth of the time that it took so far,
    for the one that is waited for may need the core."""
    start = time.perf_counter()
    while not is_there():
        time.sleep(min(longest, (time.perf_counter() - start) / 10))


def _portable(error: BaseException, where: str = "") -> Any:
    """The error, with the place before its text, as other processes can have it."""
    try:
        told = type(error)(f"{where}{error}") if where else error
        pickle.loads(pickle.dumps(told))
    except Exception:
        return RuntimeError(f"{where}{type(error).__name__}: {error}")
    return told
