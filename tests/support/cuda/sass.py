"""The machine code of a kernel: its instructions, and those of its loops.

nvdisasm comes with the wheel nvidia-cuda-nvdisasm.
"""

import collections
import functools
import importlib.util
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nvrtc

INSTALL = "pip install nvidia-cuda-nvdisasm"
LINE = re.compile(
    r"\s+/\*(?P<at>[0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?(?P<code>[A-Z]\w*)(?P<rest>.*)"
)


@functools.cache
def disassembler():
    """The path of nvdisasm, or None."""
    spec = importlib.util.find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else ()
    found = [path for folder in folders for path in Path(folder).glob("*/bin/nvdisasm")]
    return str(found[0]) if found else shutil.which("nvdisasm")


def missing():
    """Why no machine code can be read here, or None."""
    if nvrtc.missing() is None and disassembler() is None:
        return f"nvdisasm is not installed: {INSTALL}"
    return nvrtc.missing()


@dataclass(frozen=True)
class Instruction:
    """at: its address. code: such as "FFMA". target: where it jumps to, or None. rest: operands."""

    at: int
    code: str
    target: int | None
    rest: str = ""

    def registers(self):
        """Those that are named; of several neighbours the first."""
        return re.findall(r"\bR\d+\b", self.rest)


def instructions(text, name, kernel, opts, architecture):
    """Those of one kernel of a source, in the order of their addresses."""
    cubin = nvrtc.machine_code(text, name, opts, architecture)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [disassembler(), "-c", file.name]
        listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return parsed(listing, kernel)


def parsed(listing, kernel):
    """nvdisasm's listing -> the instructions of one kernel."""
    body = listing.split(f".text.{kernel}:\n", 1)[1].split("\n.section", 1)[0]
    body = body.split("//-----", 1)[0]
    labels, waiting, lines = {}, [], []
    for line in body.splitlines():
        if label := re.match(r"(\.\w+):", line):
            waiting.append(label[1])
        elif found := LINE.match(line):
            at = int(found["at"], 16)
            labels.update(dict.fromkeys(waiting, at))
            waiting.clear()
            lines.append((at, found["code"], found["rest"]))
    return [Instruction(at, code, _target(code, rest, labels), rest) for at, code, rest in lines]


def _target(code, rest, labels):
    label = re.search(r"`\((\.\w+)\)", rest)
    return labels.get(label[1]) if label and code == "BRA" else None


def loops(code):
    """The loops of a kernel, each as its instructions without those of the loops in it."""
    spans = {}
    for each in code:
        if each.target is not None and each.target < each.at:
            spans[each.target] = max(each.at, spans.get(each.target, 0))
    found = []
    for first, last in spans.items():
        inner = [(f, t) for f, t in spans.items() if first <= f and t <= last and f != first]
        found.append(
            [
                each
                for each in code
                if first <= each.at <= last and not any(f <= each.at <= t for f, t in inner)
            ]
        )
    return found


def around(inner, loops):
    """Of the loops around this one the next, without what is in it."""

    def holds(loop):
        return loop[0].at <= inner[0].at and inner[-1].at <= loop[-1].at and loop is not inner

    return min(filter(holds, loops), key=lambda loop: loop[-1].at - loop[0].at)


def loads_on_the_way(code):
    """How many loads from memory a thread asks for, at most, before it uses one of them."""
    waiting, most = set(), 0
    for each in code:
        registers = each.registers()
        if each.code == "LDG":
            waiting.add(registers[0])
            most = max(most, len(waiting))
        elif waiting.intersection(registers):
            waiting.clear()
    return most


def counts(code):
    """How many of each instruction."""
    return collections.Counter(each.code for each in code)
