"""A dependency directory that is copied into four worktrees at once, against four times `cp -a`."""

from __future__ import annotations

import sys

from benchmarks.measure import Cost, Goal, Site, alternate, cpu, folder, make_files, median_of, run_measured

FILES = 8_000
WORKERS = 4
REPEAT = 3
LIMIT = 1.3


def measure() -> list[Goal]:
    """Run the benchmark."""
    with folder() as place:
        site = Site(place, files=50)
        make_files(site.repository / "node_modules", FILES)
        (site.repository / ".git" / "info" / "exclude").write_text("node_modules\n")

        def run(more: str) -> Cost:
            site.clear()
            site.configure(more)
            return run_measured(site.parallel(":", WORKERS), cwd=site.repository, env=site.env)

        def copy() -> Cost:
            site.clear()
            command = f"for n in $(seq {WORKERS}); do cp -a node_modules ../naive-$n & done; wait"
            return run_measured(("/bin/sh", "-c", command), cwd=site.repository, env=site.env)

        whole, rest, naive = alternate(
            REPEAT, lambda: run("worktrees: {copy: [node_modules]}\n"), lambda: run(""), copy
        )
    copied_s = median_of(whole, cpu) - median_of(rest, cpu)
    return [
        Goal(
            name=f"worktrees.copy of {FILES:,} files, {WORKERS} workers at once, CPU of that of cp -a",
            measured=copied_s / median_of(naive, cpu),
            limit=LIMIT,
            note=f"{copied_s:.2f} s against {median_of(naive, cpu):.2f} s",
        )
    ]


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
