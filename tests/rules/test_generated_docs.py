"""The generated documents are what `make docs` would write now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_generated_documents_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)

    documents = generate.documents()

    assert documents
    for path, text in documents.items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)} has drifted: make docs"
