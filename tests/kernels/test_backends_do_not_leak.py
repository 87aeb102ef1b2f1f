"""Promise: a backend is imported by its own modules and the registry, by nobody else; no module
imports itself by way of others; CuPy is named only where a user meets it.
"""

import ast
import re

import pytest
from repository import ROOT

from softstep.kernels.registry import BACKENDS

PACKAGES = {backend.package for backend in BACKENDS.values()}
REGISTRY = "softstep.kernels.registry"  # which makes the names of packages from those of backends
# Who may all the same, and why.
INSTRUMENTS = {"softstep.bench.peak": "its own kernel, of our vectors, measures a processor's peak"}
# Where the word may stand in a string that is no docstring.
NAMES_CUPY = {
    "softstep.kernels.registry": "the name of the backend and how to install it",
    "softstep.kernels.names": "the type of the backends' names",
    "softstep.model.resume.origin": "the version that a saved model tells",
    "softstep.bench.studies.mutants": "the folder whose kernels it leaves alone",
    "softstep.bench.peers": "CuPy's own products, which ours are compared with",
}


def _files():
    """Each module of the package: its name, and its file by its real path."""
    for folder in (ROOT / "src/softstep", *(ROOT / room for room in ("kernels", "model", "bench"))):
        for file in sorted(folder.rglob("*.py")):
            parts = list(file.relative_to(ROOT / "src" if "src" in file.parts else ROOT).parts)
            if not any(parent.is_symlink() for parent in file.parents):
                yield _name(parts), file


def _name(parts):
    """["kernels", "arrays.py"] -> "softstep.kernels.arrays"."""
    *folders, file = parts if parts[0] == "softstep" else ["softstep", *parts]
    stem = file.removesuffix(".py")
    return ".".join(folders if stem == "__init__" else [*folders, stem])


TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in _files()}


def imported(node, modules):
    """What an import statement names: modules of the package, or else what stands there."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    assert node.level == 0, "the package imports by absolute names"
    whole = {f"{node.module}.{alias.name}" for alias in node.names}
    return {name if name in modules else node.module for name in whole}


def imports(tree, modules, nodes=ast.walk):
    """All that a module imports, anywhere in it."""
    statements = (n for n in nodes(tree) if isinstance(n, ast.Import | ast.ImportFrom))
    return set().union(*(imported(n, modules) for n in statements))


def at_import(tree):
    """The nodes of a module that run when it is imported: not what stands in its functions."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        todo += [] if is_function else ast.iter_child_nodes(node)


def texts(tree):
    """The strings of a module, parts of f-strings among them, but for the docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in docstrings
    ]


def backend_of(module):
    """The package of the backend that a module belongs to, or None."""
    return next((p for p in PACKAGES if module == p or module.startswith(f"{p}.")), None)


def leaks(trees):
    """(module, what it imports of a backend that is not its own), by a statement or by name."""
    found = set()
    for module, tree in trees.items():
        named = re.findall(r"softstep\.kernels\._\w*[\w.]*", "\n".join(texts(tree)))
        for name in (*imports(tree, trees), *(named if module != REGISTRY else ())):
            if backend_of(name) not in (None, backend_of(module)):
                found.add((module, name))
    return found


def circles(trees):
    """Modules that import each other, directly or not, when they are imported: a set of each."""
    edges = {name: imports(tree, trees, at_import) & trees.keys() for name, tree in trees.items()}
    reached = {name: _reached(name, edges) for name in edges}
    rings = {frozenset(m for m in reached[n] if n in reached[m]) for n in edges if n in reached[n]}
    return {tuple(sorted(ring)) for ring in rings}


def _reached(start, edges):
    found, todo = set(), list(edges[start])
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += edges[name]
    return found


def names_cupy(trees):
    """The modules outside its backend with the word in a string."""
    return {
        module
        for module, tree in trees.items()
        if backend_of(module) is None and any("cupy" in text.lower() for text in texts(tree))
    }


def test_the_whole_package_is_looked_at():
    assert {*PACKAGES, "softstep", "softstep.kernels.ops", "softstep.model.trainer"} <= set(TREES)
    assert len(TREES) > 120
    assert len(imports(TREES["softstep.kernels.ops"], TREES)) > 3


def test_nothing_outside_a_backend_imports_it():
    assert {module for module, _ in leaks(TREES)} == set(INSTRUMENTS)


def test_no_module_imports_itself_by_way_of_others():
    assert circles(TREES) == set()


def test_cupy_is_named_only_where_a_user_meets_it():
    assert names_cupy(TREES) == set(NAMES_CUPY)


# ---- the walk sees what it is to find


def parsed(**sources):
    return {
        f"softstep.{name.replace('__', '.')}": ast.parse(text) for name, text in sources.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "from softstep.kernels._cupy import kernel",
        "from softstep.kernels import _cupy",
        "import softstep.kernels._cupy.arrays",
        "def f():\n    from softstep.kernels._cupy.device import cupy",
        "import importlib\nimportlib.import_module('softstep.kernels._cupy.kernel')",
    ],
)
def test_a_leak_is_seen(text):
    trees = parsed(bench__gpu=text, kernels___cupy="", kernels___cupy__kernel="x = 1")
    assert {module for module, _ in leaks(trees)} == {"softstep.bench.gpu"}


def test_a_backend_may_import_itself_and_no_other():
    own = "from softstep.kernels._cupy import kernel"
    trees = parsed(kernels___cupy__linear=own, kernels___numba__linear=own)
    assert {module for module, _ in leaks(trees)} == {"softstep.kernels._numba.linear"}


def test_a_circle_is_seen_and_one_inside_functions_is_none():
    trees = parsed(
        a="from softstep import b",
        b="if True:\n    import softstep.c",
        c="class C:\n    from softstep.a import f",
        d="def f():\n    from softstep import e",
        e="from softstep.d import f",
    )
    assert circles(trees) == {("softstep.a", "softstep.b", "softstep.c")}


def test_a_string_is_seen_and_a_docstring_is_none():
    trees = parsed(
        a='"""Arrays of CuPy."""\ndef f():\n    "CuPy."\n    # CuPy\n',
        b='x = f"{1} CuPy"',
        c="def f(backend='cupy'): pass",
    )
    assert names_cupy(trees) == {"softstep.b", "softstep.c"}
