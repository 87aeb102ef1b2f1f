"""Promise: every public name is documented, with its errors, and the examples run."""

import ast
import doctest
import importlib
import inspect
import re
import textwrap

import pytest
from repository import DOCS, ROOT

PAGES = {
    "kernels": "softstep.kernels",
    "model": "softstep.model",
    "datasets": "softstep.model.datasets",
    "landscape": "softstep.model.landscape",
    "plots": "softstep.model.plots",
}
MODULES = ("softstep", *PAGES.values())
WITH_EXAMPLES = ("softstep.kernels.ops", "softstep.model.regression")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def public():
    """Every public function, class, method and property: name -> object."""
    found = {}
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                found[f"{module.__name__}.{name}"] = value
            if inspect.isclass(value):
                found |= {f"{module.__name__}.{name}.{m}": f for m, f in methods(value)}
    return found


def methods(owner):
    for name in dir(owner):
        value = inspect.getattr_static(owner, name)
        function = getattr(value, "__func__", getattr(value, "fget", value))
        is_ours = (getattr(function, "__module__", None) or "").startswith("softstep")
        if not name.startswith("_") and inspect.isfunction(function) and is_ours:
            yield name, function


PUBLIC = public()


def raises(function):
    """Whether its own lines raise."""
    if not inspect.isfunction(function):
        return False
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))


def test_there_are_public_names_and_some_of_them_raise():
    assert len(PUBLIC) > 90
    assert sum(map(raises, PUBLIC.values())) > 10


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_it_is_and_what_it_raises(name):
    text = PUBLIC[name].__doc__
    assert text, f"{name} has no docstring"
    if raises(PUBLIC[name]):
        assert re.search(r"\bRaises?\b", text), f"{name} raises, and its docstring does not say so"


@pytest.mark.parametrize("name", [n for n in PUBLIC if n.startswith("softstep.kernels.")])
def test_an_op_says_its_shapes_and_errors(name):
    value = PUBLIC[name]
    methods = ".CSR." in name or ".Scaled." in name
    if inspect.isclass(value) or methods or name.endswith("use_backend"):
        pytest.skip("no op")
    assert re.search(r"\(n, [cd]\)|\(n,\)|\(h,", value.__doc__)
    assert "Raises:" in value.__doc__


@pytest.mark.parametrize("page", PAGES)
def test_the_page_of_a_module_has_every_public_name(page):
    text = (DOCS / "api" / f"{page}.md").read_text(encoding="utf-8")
    shown = set(re.findall(rf"^::: {PAGES[page]}\.(\w+)$", text, re.M))
    module = importlib.import_module(PAGES[page])
    assert shown - {"ops"} == {n for n in module.__all__ if callable(getattr(module, n))}


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_run(module):
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert failed == 0
    assert tried > 0


def test_every_module_with_examples_is_tried():
    found = {
        f"softstep.{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}"
        for room in ("kernels", "model")
        for path in (ROOT / room).rglob("*.py")
        if ">>> " in path.read_text(encoding="utf-8")
    }
    assert found == set(WITH_EXAMPLES)


def test_every_page_is_in_the_navigation():
    shown = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert shown == pages | {"index.md"}


def test_links_of_the_readme_lead_to_files():
    links = re.findall(r'\]\(([^)]+)\)|(?:src|srcset)="([^"]+)"', README)
    own = [one or other for one, other in links if not (one or other).startswith("https://")]
    assert len(own) > 15
    assert [link for link in own if not (ROOT / link.partition("#")[0]).exists()] == []


def test_relative_links_of_the_pages_lead_to_files():
    targets = {
        (page.parent / target).resolve()
        for page in DOCS.rglob("*.md")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    }
    assert len(targets) > 15
    assert [target for target in targets if not target.exists()] == []
