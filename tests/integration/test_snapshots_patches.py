"""Each changed file gets its own part of one patch, whatever it is called and whatever stands in it."""

from __future__ import annotations

import os
from pathlib import Path

from support.landing_runs import commit
from support.repositories import git, make_repository

from architect_parallel.snapshots.diff import FilePatch, file_patches
from architect_parallel.system.git import open_repository

TRAP = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-no\n+yes\n"


def test_every_kind_of_change_meets_its_own_patch(tmp_path: Path) -> None:
    odd = os.fsdecode(b'od\xffd\t"name"\n')
    long = "".join(f"line {number}\n" for number in range(40))
    root = make_repository(
        tmp_path / "repo",
        {"trap": "old\n", "moved": long, odd: "one\n", "bin": b"\0", "mode": "m\n", "type": "t\n", "gone": "g\n",
         ".gitattributes": "nul diff\n", "nul": b"a\0b\n"},
    )  # fmt: skip
    base = git(root, "rev-parse", "HEAD")
    (root / "type").unlink()
    (root / "type").symlink_to("mode")
    (root / "mode").chmod(0o755)
    (root / "moved").rename(root / "there")
    head = commit(
        root, {"trap": TRAP, odd: "two\n", "bin": b"\0\1", "gone": None, "new": TRAP, "nul": b"a\0\0diff --git c\n"}
    )

    found = {each.change.file.path: each for each in file_patches(open_repository(root).store, base, head)}

    assert list(found) == sorted(found, key=os.fsencode)
    assert {path: each.change.file.status for path, each in found.items()} == {
        "bin": "M", "gone": "D", "mode": "M", "new": "A", "nul": "M", odd: "M", "there": "R", "trap": "M", "type": "T",
    }  # fmt: skip
    assert "Binary files" in text(found["bin"])
    assert "+two\n" in text(found[odd])
    assert text(found["new"]).endswith("".join(f"+{line}\n" for line in TRAP.splitlines()))
    assert "-old\n+diff --git a/x b/x\n" in text(found["trap"])
    assert "rename from moved" in text(found["there"])
    assert text(found["mode"]).endswith("old mode 100644\nnew mode 100755\n")
    assert text(found["type"]).count("diff --git") == 2
    assert found["nul"].patch.endswith(b"+a\0\0diff --git c\n")
    assert file_patches(open_repository(root).store, head, head) == ()


def text(each: FilePatch) -> str:
    return os.fsdecode(each.patch)
