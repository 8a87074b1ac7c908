"""One run: its options, its plan, and the loop that starts and stops the workers.

The package can be called: `architect_parallel.runs()` of the Python API has its name.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        from architect_parallel.runs.history import runs

        return runs(*args, **options)


sys.modules[__name__].__class__ = _Callable
