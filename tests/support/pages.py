"""Pages whose Python blocks form one program, each with what it prints shown after it."""

import contextlib
import io
import re

import numpy as np


def blocks(text):
    """The Python blocks in order, each with the output shown after it, or "" if none is."""
    return re.findall(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", text, re.S | re.M)


def execute(text, page):
    """Runs the blocks as one program: its names at the end, and what each block printed."""
    names, printed = {}, []
    with np.printoptions():
        for code, _ in blocks(text):
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(code, str(page), "exec"), names)
            printed.append(output.getvalue())
    return names, printed
