"""The examples in the docstrings of the pure rooms hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from architect_parallel import evaluation, scheduling, templates, text

MODULES = [
    f"{room.__name__}.{module.name}"
    for room in (evaluation, scheduling, templates, text)
    for module in pkgutil.iter_modules(room.__path__)
]


CONFIG = [f"architect_parallel.config.{name}" for name in ("yaml_source", "task_schema")]


@pytest.mark.parametrize("name", [*MODULES, *CONFIG, "architect_parallel.reports.graph"])
def test_docstring_examples_hold(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) > 10
