from __future__ import annotations

import json

from support.dispatching import spec

from architect_parallel.domain import Role
from architect_parallel.event_json import decode, encode
from architect_parallel.events import RunExtended


def test_a_role_is_stored_beside_the_name_that_a_spec_gives_its_agent() -> None:
    event = RunExtended(workers=(spec(1, role=Role.COORDINATOR, role_name="editor"),))
    stored = json.loads(encode(event)[1])["workers"][0]
    assert (stored["kind"], stored["role"]) == ("coordinator", "editor")
    assert decode(*encode(event)) == event


def test_a_worker_from_before_there_were_roles_is_one_of_the_plan() -> None:
    name, text = encode(RunExtended(workers=(spec(1, role_name="editor"),)))
    stored = json.loads(text)
    del stored["workers"][0]["kind"]
    event = decode(name, json.dumps(stored))
    assert isinstance(event, RunExtended)
    assert event.workers[0].role is Role.WORKER
    assert event.workers[0].role_name == "editor"
