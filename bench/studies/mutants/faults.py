"""Small faults that can be put into Python code, each in one place."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED = (
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
)
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    a: b for pair in _COMPARED for a, b in (pair, pair[::-1])
}
_COMPUTED = (
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.BitAnd, ast.BitOr),
    (ast.LShift, ast.RShift),
)
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    a: b for pair in _COMPUTED for a, b in (pair, pair[::-1])
}
COMPUTED |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult}
# What is left out: texts for readers, types, and what other code is done to.
LEFT_OUT = ("annotation", "returns", "decorator_list", "type_params")


@dataclass(frozen=True)
class Fault:
    """A change of one place in a file: the characters from `start` to `end` become `text`.

    lines: the first and the last line of the statement that it is in, of one that holds others its
    head. function: the outermost function whose body it is in, as `Class.method`; "": none.
    """

    area: str
    file: str
    line: int
    start: int
    end: int
    text: str
    was: str
    lines: tuple[int, int]
    function: str

    def __str__(self) -> str:
        before, after = (" ".join(t.split())[:60] for t in (self.was, self.text))
        return f"{self.file}:{self.line}: `{before}` → `{after}`"

    def source(self, whole: str) -> str:
        """The whole file with the fault."""
        return whole[: self.start] + self.text + whole[self.end :]


@dataclass(frozen=True)
class _Place:
    """Where in a module a node is: the classes around it, `Fault.function`, `Fault.lines`."""

    classes: tuple[str, ...] = ()
    function: str = ""
    lines: tuple[int, int] = (1, 1)


def faults_of(area: str, file: str, source: str) -> Iterator[Fault]:
    """All faults that can be put into a file."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    coded = source.encode()
    for node, place in _nodes(ast.parse(source), _Place()):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[node.end_lineno - 1] + node.end_col_offset
        was = coded[first:last].decode()
        at, to = len(coded[:first].decode()), len(coded[:last].decode())
        for text in _changed(node):
            yield Fault(area, file, node.lineno, at, to, text, was, place.lines, place.function)


def _nodes(tree: ast.AST, place: _Place) -> Iterator[tuple[ast.stmt | ast.expr, _Place]]:
    """The nodes of what is computed: no annotations, decorators, texts or messages of errors."""
    for name, value in ast.iter_fields(tree):
        children = value if isinstance(value, list) else [value]
        for child in children if name not in LEFT_OUT else ():
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            inside = _place_within(tree, name, place)
            if isinstance(child, ast.stmt):
                inside = _Place(inside.classes, inside.function, _lines(child))
            if isinstance(child, ast.stmt | ast.expr):
                yield child, inside
            if not isinstance(child, ast.Raise):
                yield from _nodes(child, inside)


def _place_within(tree: ast.AST, field: str, place: _Place) -> _Place:
    """The place of what is in this field of a node that is at `place`."""
    if field != "body" or place.function:
        return place
    if isinstance(tree, ast.ClassDef):
        return _Place((*place.classes, tree.name), "", place.lines)
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        return _Place(place.classes, ".".join((*place.classes, tree.name)), place.lines)
    return place


def _lines(statement: ast.stmt) -> tuple[int, int]:
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    return statement.lineno, max(statement.lineno, last)


def _changed(node: ast.AST) -> Iterator[str]:
    """What the node may become, as source text."""
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call):
        return  # a docstring, a yield
    if isinstance(node, ast.Expr | ast.AugAssign | ast.Raise):
        yield "pass"
    elif isinstance(node, ast.Assign):
        if not isinstance(node.targets[0], ast.Name | ast.Tuple):
            yield "pass"
    elif isinstance(node, ast.Break):
        yield "continue"
    elif isinstance(node, ast.Continue):
        yield "break"
    elif isinstance(node, ast.expr):
        for other in _other_expressions(node):
            yield f"({ast.unparse(other)})"


def _other_expressions(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            if type(op) in COMPARED:
                other = copy.deepcopy(node)
                other.ops[k] = COMPARED[type(op)]()
                yield other
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED:
        if not any(_is_text(side) for side in (node.left, node.right)):
            yield ast.BinOp(node.left, COMPUTED[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(other_op, node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        value = node.value
        yield ast.Constant(not value if isinstance(value, bool) else value * 2 or 1)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
