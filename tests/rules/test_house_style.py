"""The rules of the house that a program can check: size, names, first words, imports."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "architect_parallel"
LONGEST_MODULE = 350
LONGEST_MEDIAN = 130
LONGEST_FUNCTION = 60
TABLES = {"cli/merge.py:merge", "cli/parallel.py:parallel", "cli/run.py:run", "system/http_server.py:_handler"}
"""Longer functions that are tables: the options of a command, the methods of a request handler."""
VAGUE = re.compile(r"(What|Who|Whoever|Whether|Whatever|That which|So many)\b")
"""First words of a docstring that delay its subject."""
NO_SUBJECT = {"each", "found", "said", "told"}
"""Names of variables that do not say what they hold."""


@cache
def modules() -> dict[str, tuple[str, ast.Module]]:
    """Dotted name below the package → path below the package, and syntax tree."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        below = path.relative_to(PACKAGE)
        if below.name != "_version.py" and not below.is_relative_to("agent/demo/repository"):
            name = ".".join(below.with_suffix("").parts).removesuffix("__init__").rstrip(".")
            found[name] = (str(below), ast.parse(path.read_text(encoding="utf-8")))
    return found


def length(tree: ast.AST) -> int:
    return max((node.end_lineno or 0 for node in ast.walk(tree) if isinstance(node, ast.stmt)), default=0)


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring, those of attributes included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.strip()


def imports(tree: ast.AST) -> set[str]:
    """Modules of the package that a module imports, also within functions, but not for the type checker alone."""
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("architect_parallel"):
            base = node.module.removeprefix("architect_parallel").lstrip(".")
            for alias in node.names:
                below = f"{base}.{alias.name}".lstrip(".")
                names.add(below if below in modules() else base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return names - {""}


def cycle(edges: dict[str, set[str]]) -> list[str]:
    """One cycle of the graph, or an empty list."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        stack = [(start, iter(edges[start]))] if start not in done else []
        while stack:
            node, targets = stack[-1]
            if len(path) < len(stack):
                path.append(node)
            target = next((name for name in targets if name in edges and name not in done), None)
            if target is None:
                done.add(node)
                stack.pop()
                path.pop()
            elif target in path:
                return [*path[path.index(target) :], target]
            else:
                stack.append((target, iter(edges[target])))
    return []


def test_no_module_is_long() -> None:
    lengths = {path: length(tree) for path, tree in modules().values()}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_MODULE} == {}
    assert median(lengths.values()) <= LONGEST_MEDIAN


def test_only_tables_are_long_functions() -> None:
    long = {
        f"{path}:{node.name}"
        for path, tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno > LONGEST_FUNCTION
    }
    assert long <= TABLES


def test_no_cycle_of_imports_lazy_ones_included() -> None:
    assert cycle({name: imports(tree) - {name} for name, (_, tree) in modules().items()}) == []


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_two_classes_share_a_name() -> None:
    places = defaultdict(list)
    for path, tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_docstring_names_its_subject_first() -> None:
    vague = [
        f"{path}:{line}: {text.splitlines()[0]}"
        for path, tree in modules().values()
        for line, text in docstrings(tree)
        if VAGUE.match(text) or re.search(r"(?<!as )`None`: ", text)
    ]
    assert vague == []


def test_docstrings_have_no_semicolon_outside_of_code() -> None:
    code = re.compile(r"```.*?```|`[^`]*`|\"[^\"]*\"|\([^()]*\)|^ *(>>>|\.\.\.|-) .*$", re.DOTALL | re.MULTILINE)
    long = [
        f"{path}:{line}: {text.splitlines()[0]}"
        for path, tree in modules().values()
        for line, text in docstrings(tree)
        if re.search(r";( |$)", code.sub("", text), re.MULTILINE)
    ]
    assert long == []


def test_no_variable_has_a_name_without_a_subject() -> None:
    named = [
        f"{path}:{node.lineno}"
        for path, tree in modules().values()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id in NO_SUBJECT)
        or (isinstance(node, ast.arg) and node.arg in NO_SUBJECT)
    ]
    assert named == []


def test_the_formatter_is_not_overruled() -> None:
    assert [
        path for path, _ in modules().values() if "# fmt: skip" in (PACKAGE / path).read_text(encoding="utf-8")
    ] == []
