"""The journal's keys: what an older version stored is read by today's."""

from __future__ import annotations

import dataclasses
import json
import types
from pathlib import Path

import pytest
from support.stored_keys import missing_keys, stored_keys

from architect_parallel import events
from architect_parallel.event_json import EVENT_TYPES

RECORDED = json.loads((Path(__file__).parents[2] / "recordings" / "runs" / "keys.json").read_text())


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_key_is_still_stored(name: str) -> None:
    assert list(missing_keys(RECORDED[name], stored_keys(EVENT_TYPES[name]), name)) == []


def test_a_renamed_field_is_noticed_unless_it_keeps_its_key() -> None:
    """The control."""
    before = dataclasses.make_dataclass("Before", [("reason", str)])
    renamed = dataclasses.make_dataclass("Renamed", [("cause", str)])
    kept = dataclasses.make_dataclass("Kept", [("cause", str, dataclasses.field(metadata={events.KEY: "reason"}))])

    def nested(field_type: type) -> object:
        return stored_keys(
            dataclasses.make_dataclass("Outer", [("inner", types.GenericAlias(tuple, (field_type, ...)))])
        )

    assert list(missing_keys(nested(before), nested(renamed), "Outer")) == ["Outer.inner.reason"]
    assert list(missing_keys(nested(before), nested(kept), "Outer")) == []
