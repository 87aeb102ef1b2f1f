"""Does a reader of files do anything with a spoilt file but refuse it in one sentence?

For each kind of file a sound one is written and spoilt again and again: bits turned, bytes cut out,
repeated, put in, numbers at the edges. The reader is to take it, or to raise a documented error, in
a second and some memory. By atheris, which looks for new ways through the code, if it is installed;
else as a seed draws it. POSIX.
"""

import argparse
import importlib
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softstep import SoftmaxRegression
from softstep.bench.studies import parser
from softstep.model import checkpoint, datasets
from softstep.model.landscape import Line, Surface, loss_line, loss_surface
from softstep.model.resume import store
from softstep.runs import record, results

X, Y = np.arange(24, dtype=np.float32).reshape(8, 3) / 24, np.arange(8) % 2
ERRORS = (ValueError, OSError)  # DataError and CheckpointError are ValueErrors
LONGEST = 1000  # characters of a message: paths and lists of names are part of some
SECONDS = 2.0  # that a reader may take
MEMORY = 1 << 30  # bytes that it may take
EDGES = [*(1 << k for k in (7, 8, 15, 16, 31, 32, 63)), 0, -1, 2**31 - 1, 2**32 - 1, 2**63 - 1]
NUMBERS = [struct.pack(f, n % 2**b) for n in EDGES for f, b in (("<Q", 64), ("<I", 32), (">I", 32))]
WORDS = [b"nan", b"1e999", b"9" * 400, b"-1", b"{", b"[[", b'"', b"\n", b"\0", b"\x80\x05K.", b",,"]


@dataclass(frozen=True)
class Door:
    """One kind of file: its name, what writes a sound one, what reads it."""

    file: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]


@dataclass(frozen=True)
class Edit:
    """One change of a file's bytes, at a share `at` of its length."""

    kind: str
    at: float
    length: int
    text: bytes

    def of(self, content: bytes) -> bytes:
        i = int(self.at * len(content))
        end = i + self.length
        if self.kind == "turn":
            turned = content[i] ^ (1 << self.length % 8) if content else 0
            return content[:i] + bytes([turned]) + content[i + 1 :]
        parts = {
            "cut": content[:i] + content[end:],
            "end": content[:i],
            "repeat": content[:end] + content[i:],
            "insert": content[:i] + self.text + content[i:],
            "replace": content[:i] + self.text + content[i + len(self.text) :],
        }
        return parts[self.kind]


KINDS = ("turn", "cut", "end", "repeat", "insert", "replace")


def drawn(rng: random.Random) -> list[Edit]:
    """One to four edits."""
    texts = [*NUMBERS, *WORDS, rng.randbytes(rng.randint(1, 20))]
    return [
        Edit(rng.choice(KINDS), rng.random() * 0.999, rng.randint(0, 64), rng.choice(texts))
        for _ in range(rng.choice((1, 1, 2, 4)))
    ]


def _text(path: Path) -> None:
    lines = [",".join([*map(str, row), "ab"[label]]) for row, label in zip(X, Y, strict=True)]
    path.write_text("\n".join(["x,y,z,kind", *lines, ""]), "utf-8")


def _idx(path: Path) -> None:
    path.write_bytes(struct.pack(">IIII", 2051, 2, 3, 4) + bytes(range(24)))


def _packed(write: Callable[[Path], object]) -> Callable[[Path], object]:
    """What writes the same file packed by gzip."""

    def packed(path: Path) -> None:
        import gzip

        write(path)
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))

    return packed


def _arrow(module: str, function: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        columns = {name: X[:, j] for j, name in enumerate("xyz")} | {"kind": Y}
        table = importlib.import_module("pyarrow").table(columns)
        getattr(importlib.import_module(module), function)(table, path)

    return write


def _safetensors(path: Path) -> None:
    importlib.import_module("safetensors.numpy").save_file({"X": X, "y": Y}, path)


def _torch(path: Path) -> None:
    import torch

    torch.save((torch.from_numpy(X), torch.from_numpy(Y)), path)


def _fitted(**keeping: Any) -> SoftmaxRegression:
    model = SoftmaxRegression(epochs=2, batch_size=3, momentum=0.5, random_state=0, backend="numpy")
    return model.fit(X, Y, **keeping)


def _checkpoint(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _fitted(checkpoint=folder, checkpoint_every=0)
        max(Path(folder).glob("checkpoint-*")).replace(path)


def _run(path: Path) -> None:
    """A run folder; `path` is one of its files."""
    folder = path.parent
    model = _fitted()
    model.save(folder / "best.npz")
    table = {name: np.zeros(2) for name in results.NEEDED} | {"rank": np.arange(1, 3)}
    results.write(folder, table | {"param_loss": np.array(["mse", "gce"])}, np.ones((3, 2)))
    about = record.record("sweep", "digits", source="digits", labels=None, label=None, seed=0)
    about |= {"settings": model.get_params(), "origin": model.origin_, "results": {}}
    record.write(folder, about)


def _features(path: Path) -> object:
    return datasets.load_features(path, 3, ["x", "y", "z"])


def _read_run(path: Path) -> object:
    return record.read(path.parent)


def _read_results(path: Path) -> object:
    return results.read(path.parent)


DOORS = {
    "npz": Door("a.npz", lambda path: np.savez(path, X=X, y=Y), datasets.load_file),
    "npz packed": Door(
        "a.npz", lambda path: np.savez_compressed(path, X=X, y=Y), datasets.load_file
    ),
    "npy": Door("a.npy", lambda path: np.save(path, X), datasets.load_features),
    "csv": Door("a.csv", _text, datasets.load_file),
    "csv by name": Door("a.csv", _text, _features),
    "csv.gz": Door("a.csv.gz", _packed(_text), datasets.load_file),
    "idx": Door("a.idx", _idx, datasets.load_features),
    "idx.gz": Door("a.idx.gz", _packed(_idx), datasets.load_features),
    "parquet": Door("a.parquet", _arrow("pyarrow.parquet", "write_table"), datasets.load_file),
    "feather": Door("a.feather", _arrow("pyarrow.feather", "write_feather"), datasets.load_file),
    "safetensors": Door("a.safetensors", _safetensors, datasets.load_file),
    "torch": Door("a.pt", _torch, datasets.load_file),
    "model": Door("m.npz", lambda path: _fitted().save(path), SoftmaxRegression.load),
    "model in safetensors": Door(
        "m.safetensors",
        lambda path: _fitted().to_safetensors(path),
        SoftmaxRegression.from_safetensors,
    ),
    "model in onnx": Door(
        "m.onnx", lambda path: _fitted().to_onnx(path), SoftmaxRegression.from_onnx
    ),
    "surface": Door(
        "s.npz", lambda path: loss_surface(_fitted(), X, Y, steps=3).save(path), Surface.load
    ),
    "line": Door("l.npz", lambda path: loss_line(_fitted(), X, Y, steps=3).save(path), Line.load),
    "checkpoint": Door(
        "checkpoint-000001.npz", _checkpoint, lambda path: checkpoint.load(path, store.FORMAT)
    ),
    "run": Door(record.NAME, _run, _read_run),
    "results": Door(results.RESULTS, _run, _read_results),
    "curves": Door(results.CURVES, _run, _read_results),
}


class Slow(BaseException):
    """A reader takes longer than it may."""


def fault(door: Door, path: Path) -> str | None:
    """What is wrong with how the file is read; "" if it is refused as it should be, None if it is
    taken."""
    start = time.monotonic()
    try:
        door.read(path)
    except ERRORS as error:
        text = str(error)
        if len(text) > LONGEST or "\n" in text:
            return f"{type(error).__name__} of {len(text)} characters: {text[:200]!r}"
    except (Exception, Slow) as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    else:
        return None
    took = time.monotonic() - start
    return f"took {took:.1f} s" if took > SECONDS else ""


def at_random(name: str, seconds: float, seed: int) -> dict[str, int]:
    """How many files there were of a kind, and how many were "taken", "refused", and "faults"."""
    door, rng = DOORS[name], random.Random(f"{seed} {name}")
    counts = {"files": 0, "taken": 0, "refused": 0, "faults": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / door.file
        door.write(path)
        sound = path.read_bytes()
        assert fault(door, path) is None, name
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            content = sound
            for edit in drawn(rng):
                content = edit.of(content)
            path.write_bytes(content)
            signal.setitimer(signal.ITIMER_REAL, 5 * SECONDS)
            found = fault(door, path)
            signal.setitimer(signal.ITIMER_REAL, 0)
            counts["files"] += 1
            counts["taken" if found is None else "faults" if found else "refused"] += 1
            if found:
                print(f"{name}: {found}; file {content[:2000].hex()}", file=sys.stderr, flush=True)
    return counts


def guided(name: str, seconds: float, seed: int) -> None:
    """The same by atheris, which ends the process: with an error at the first fault."""
    atheris: Any = importlib.import_module("atheris")
    door, folder = DOORS[name], tempfile.mkdtemp()
    path = Path(folder) / door.file
    door.write(path)
    corpus = Path(folder) / "corpus"
    corpus.mkdir()
    (corpus / "sound").write_bytes(path.read_bytes())
    atheris.instrument_all()

    def try_one(content: bytes) -> None:
        path.write_bytes(content)
        if found := fault(door, path):
            raise AssertionError(f"{name}: {found}")

    options = [f"-max_total_time={seconds:.0f}", f"-seed={seed + 1}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], try_one)
    atheris.Fuzz()


def main(argv: list[str] | None = None) -> int:
    """Print a table; 1 if a reader did something else."""
    options = parser("trust.fuzz", __doc__)
    options.add_argument("--seconds", type=float, default=20.0, help="for each kind of file")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", choices=DOORS, action="append", help="these kinds alone")
    options.add_argument("--atheris", action="store_true", help="let it look for ways")
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args(argv)
    names = given.only or list(DOORS)
    if given.child:
        guided(names[0], given.seconds, given.seed)
        return 0
    if given.atheris:
        return _by_atheris(names, given.seconds, given.seed)
    resource.setrlimit(resource.RLIMIT_DATA, (_data() + MEMORY,) * 2)
    signal.signal(signal.SIGALRM, _too_slow)
    print("| file | spoilt | taken | refused | faults |\n|---|---|---|---|---|", flush=True)
    faults = 0
    for name in names:
        counts = at_random(name, given.seconds, given.seed)
        faults += counts["faults"]
        print(f"| {name} | {' | '.join(map(str, counts.values()))} |", flush=True)
    return int(faults > 0)


def _by_atheris(names: list[str], seconds: float, seed: int) -> int:
    """A process for each kind of file."""
    codes = []
    for name in names:
        command = [
            sys.executable,
            "-m",
            "softstep.bench.studies.trust.fuzz",
            "--child",
            "--only",
            name,
        ]
        settings = ["--seconds", str(seconds), "--seed", str(seed)]
        done = subprocess.run([*command, *settings], check=False)
        print(f"{name}: {'no fault' if done.returncode == 0 else done.returncode}", flush=True)
        codes.append(done.returncode)
    return int(any(codes))


def _too_slow(number: int, frame: object) -> None:
    raise Slow


def _data() -> int:
    """The bytes of data that this process has."""
    about = Path("/proc/self/statm")
    pages = int(about.read_text("ascii").split()[5]) if about.exists() else MEMORY // 4096
    return pages * resource.getpagesize()


if __name__ == "__main__":
    raise SystemExit(main())
