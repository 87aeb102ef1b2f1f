"""Files that cannot be what they are taken for: (name, bytes), by what is wrong with them."""

import gzip
import io
import json
import struct
import warnings
import zipfile
import zlib

import numpy as np

from softstep.model import archive

X = np.arange(24.0).reshape(6, 4)
Y = np.array([0, 1, 0, 1, 0, 1])
BOMB = archive.UNSUSPECTED + (32 << 20)  # bytes unpacked: enough to be asked for its ratio


def npy(array=X, **changes):
    """A .npy whose header says something else about the array than is so."""
    about = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **changes}
    return npy_with_header(repr(about), array.tobytes())


def npy_with_header(text, content=b"", version=(1, 0), length=None):
    header = text.encode("latin-1") + b"\n"
    form = "<H" if version[0] == 1 else "<I"
    size = struct.pack(form, len(header) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + header + content


def npz(members, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def saved(array):
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


GOOD_NPZ = npz([("X.npy", saved(X)), ("y.npy", saved(Y))])
GOOD_CSV = b"1,2,a\n3,4,b\n" * 5
GOOD_IDX = struct.pack(">IIII", 2051, 2, 3, 4) + bytes(24)


def flipped(content, at, bit=0):
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def _bomb(size):
    """Zeros that deflate packs a thousandfold, as the member of an .npz."""
    array = npy(np.zeros(0, np.uint8), shape=(size // 1000, 1000), descr="|u1")
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("X.npy", "w", force_zip64=True) as member,
    ):
        member.write(array)
        for _ in range(size // (1 << 20)):
            member.write(bytes(1 << 20))
    return out.getvalue()


def _gzip_bomb(size):
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    start = struct.pack(">IIII", 2051, size >> 20, 1024, 1024)
    parts = [packer.compress(start)] + [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join(parts) + packer.flush()


def _encrypted():
    content = bytearray(GOOD_NPZ)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + offset] |= 1
    return bytes(content)


def _packed_as(method):
    content = bytearray(GOOD_NPZ)
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + offset : at + offset + 2] = struct.pack("<H", method)
    return bytes(content)


def files_of_rows():
    """Each is to be refused by `load_file`, `load_features` and the commands."""
    y = ("y.npy", saved(Y))
    objects = np.array([[1, {}]], dtype=object)
    records = np.zeros(3, dtype=[("a", "f8")])
    found = {
        "npz of nothing": ("a.npz", b""),
        "npz of text": ("a.npz", b"hello"),
        "npz without members": ("a.npz", npz([])),
        "npz that is a .npy": ("a.npz", saved(X)),
        "npz of pickles": ("a.npz", npz([("X.npy", saved(objects)), y])),
        "npz of records": ("a.npz", npz([("X.npy", saved(records)), y])),
        "npz of complex numbers in one axis": ("a.npz", npz([("X.npy", saved(X[0] + 1j)), y])),
        "npz with a member twice": ("a.npz", npz([("X.npy", saved(X)), ("X.npy", saved(X)), y])),
        "npz with other members": ("a.npz", npz([("evil.txt", b"x"), ("X.npy", saved(X)), y])),
        "npz with members renamed": ("a.npz", npz([("Z.npy", saved(X)), ("w.npy", saved(Y))])),
        "npz of many members": ("a.npz", npz([(f"{i}.npy", saved(Y)) for i in range(2000)])),
        "npz bomb": ("a.npz", _bomb(BOMB)),
        "npz encrypted": ("a.npz", _encrypted()),
        "npy of nothing": ("a.npy", b""),
        "npy of text": ("a.npy", b"hello, this is text"),
        "npy of pickles": ("a.npy", saved(objects)),
        "npy cut off in its magic": ("a.npy", saved(X)[:5]),
        "npy cut off in its header": ("a.npy", saved(X)[:40]),
        "npy of version 9": ("a.npy", npy_with_header("{}", version=(9, 0))),
        "npy with a header of gigabytes": (
            "a.npy",
            npy_with_header("{}", version=(2, 0), length=2**31 + 7),
        ),
        "npy with brackets unbalanced": ("a.npy", npy_with_header("{'descr': ((((")),
        "npy with brackets nested": ("a.npy", npy_with_header("(" * 4000 + ")" * 4000)),
        "npy with a call for a header": ("a.npy", npy_with_header("__import__('os').getcwd()")),
        "npy that is an IDX file": ("a.npy", GOOD_IDX),
        "idx of nothing": ("a.idx", b""),
        "idx of labels": ("a.idx", struct.pack(">II", 2049, 3) + bytes(3)),
        "idx gzip bomb": ("a.idx.gz", _gzip_bomb(BOMB)),
        "idx gzip of nothing": ("a.idx.gz", b"\x1f\x8b"),
        "idx gzip cut off": ("a.idx.gz", gzip.compress(GOOD_IDX)[:-9]),
        "idx gzip that goes on": ("a.idx.gz", gzip.compress(GOOD_IDX + bytes(1000))),
        "csv of nothing": ("a.csv", b""),
        "csv of a header alone": ("a.csv", b"a,b,c\n"),
        "csv of NUL": ("a.csv", bytes(1 << 24)),
        "csv with NUL": ("a.csv", GOOD_CSV + b"1,\x00,a\n"),
        "csv that is ragged": ("a.csv", GOOD_CSV + b"1,2,3,4\n"),
        "csv with one column": ("a.csv", b"1\n2\n"),
        "csv with an unclosed quotation mark": ("a.csv", GOOD_CSV + b'"' + GOOD_CSV * 20000),
        "csv with text between": ("a.csv", GOOD_CSV + b"x,2,a\n"),
        "csv with a gap": ("a.csv", GOOD_CSV + b",2,a\n"),
        "csv with a label missing": ("a.csv", GOOD_CSV + b"1,2,\n"),
        "csv with an endless line": ("a.csv", b"1," * (40 << 20)),
        "csv of five million columns": ("a.csv", b"12," * 5_500_000 + b"\n"),
        "csv of ten million columns": ("a.csv", b"," * 10**7 + b"\n"),
        "csv of UTF-16": ("a.csv", "1,2,a\n".encode("utf-16")),
        "csv of bytes": ("a.csv", bytes(range(128, 256)) * 10),
        "another kind of file": ("a.xyz", b"1"),
    }
    for name, shape in {
        "negative": (-6, 4),
        "of 2⁶³": (2**63, 4),
        "of 2⁶⁴ when multiplied": (2**32, 2**32),
        "larger than what is stored": (600, 4),
        "smaller than what is stored": (2, 4),
        "of fractions": (6.0, 4),
        "of text": "6",
        "of truth": (True, 24),
        "of many axes": (1,) * 70,
        "that is none": None,
    }.items():
        found[f"npy with a shape {name}"] = ("a.npy", npy(shape=shape))
        found[f"npz with a shape {name}"] = ("a.npz", npz([("X.npy", npy(shape=shape)), y]))
    for name, shape in {
        "of nothing times 2⁷⁰": (0, 2**70),
        "of nothing times 2⁶⁴ bytes": (0, 2**61, 4),
        "of 2⁶⁴ bytes times nothing": (2**61, 4, 0),
    }.items():
        nothing = npy(np.empty(0), shape=shape)
        found[f"npy with a shape {name}"] = ("a.npy", nothing)
        found[f"npz with a shape {name}"] = ("a.npz", npz([("X.npy", nothing), y]))
    for descr in ("|S0", "<U0"):  # NumPy makes elements of one character, which nothing stored
        nothing = npy(np.empty(0), shape=(2**28, 1), descr=descr)
        found[f"npy of {descr}"] = ("a.npy", nothing)
        found[f"npz of {descr}"] = ("a.npz", npz([("X.npy", saved(X)), ("more.npy", nothing), y]))
    for method in (1, 6, 9, 12, 14, 93, 98):
        found[f"npz packed by method {method}"] = ("a.npz", _packed_as(method))
    for descr in ("|O", "|V8", "<M8[s]", "nonsense", "<f99", "", "<U-1"):
        found[f"npy of {descr or 'no'} dtype"] = ("a.npy", npy(descr=descr))
    for part in (0.1, 0.5, 0.9, 0.99):
        found[f"npz cut off at {part:g}"] = ("a.npz", GOOD_NPZ[: int(part * len(GOOD_NPZ))])
    for part in (0.3, 0.7):
        found[f"idx cut off at {part:g}"] = ("a.idx", GOOD_IDX[: int(part * len(GOOD_IDX))])
    return found


def json_settings():
    """Settings of a saved model that are no settings."""
    return {
        "not JSON": "{",
        "a list": "[]",
        "nested": "[" * 100_000,
        "not finite": '{"format": NaN}',
        "beyond what is finite": '{"format": 1e999}',
        "an endless number": '{"format": ' + "9" * 10_000 + "}",
        "another format": json.dumps({"format": "softstep model 99"}),
    }
