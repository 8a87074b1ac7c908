"""A hundred runs with scripted, priced models under a run budget: how far over it they come, and whether they say so.

Every reply has one price within a run and takes 0.4 s, as a fast model does; nothing else is arranged. The bound is one
reply per worker that ran when the budget was reached. Exit code 1 when a run goes beyond it, spends more than its
budget without a warning, or reports another sum than its workers' costs.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import ARCHITECT, Site, folder

RUNS = 100
REPLY_S = 0.4
TOKENS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One run."""

    over_usd: float
    """Beyond the budget; negative: below it."""
    reply_usd: float
    running: int
    """Workers that could run at once."""
    said: bool
    """Whether a warning tells of the overshoot."""
    adds_up: bool

    @property
    def replies(self) -> float:
        """Overshoot in replies per running worker."""
        return max(0.0, self.over_usd) / self.reply_usd / self.running

    @property
    def good(self) -> bool:
        silent = self.over_usd > 1e-9 and not self.said
        return self.replies <= 1.0 + 1e-6 and not silent and self.adds_up


def one_run(site: Site, dice: random.Random) -> Spent:
    """Spends with the real program."""
    workers, at_once = dice.randint(1, 4), dice.randint(1, 3)
    per_mtok = round(dice.uniform(5, 50), 2)
    reply_usd = per_mtok * TOKENS / 1e6
    budget = round(reply_usd * dice.uniform(0.5, 3 * workers), 6)
    reply = {"tool": "list", "sleep": REPLY_S, "usage": {"input_tokens": 0, "output_tokens": TOKENS}}
    model = {"price": {"input_per_mtok": 0, "output_per_mtok": per_mtok}, "repeat": True, "steps": [reply]}
    models = site.folder / "models.yaml"
    models.write_text(json.dumps({"spender": model}))
    argv = [*ARCHITECT, "parallel", "spend", "--models", "scripted:spender", "--assign", "round-robin"]
    argv += ["--workers", str(workers), "--max-parallel", str(at_once), "--max-steps", "8"]
    argv += ["--budget", f"{budget:.6f}", "--json", "--quiet", "-c", str(site.config)]
    environ = {**site.env, "ARCHITECT_SCRIPTED_MODELS": str(models)}
    done = subprocess.run(
        argv, cwd=site.repository, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr.decode())
    answer = json.loads(done.stdout)
    spent = answer["total_cost"]
    site.clear()
    return Spent(
        over_usd=spent - budget,
        reply_usd=reply_usd,
        running=min(workers, at_once),
        said=any("over its budget" in each for each in answer["warnings"]),
        adds_up=abs(spent - sum(result["cost"] for result in answer["results"])) < 1e-9,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Overshoot of run budgets")
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    dice = random.Random(4)
    with folder() as place:
        site = Site(place, files=5)
        runs = [one_run(site, dice) for _ in range(options.runs)]
    bad = [each for each in runs if not each.good]
    reached = sum(each.over_usd >= -1e-9 for each in runs)
    worst = max(each.replies for each in runs)
    print(
        f"budget: {len(runs)} runs, {reached} reached their budget, at most {worst:.2f} replies per running worker "
        f"over it, {len(bad)} beyond one or silent"
    )
    for each in bad:
        print(f"  {each}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
