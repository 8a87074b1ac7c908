"""Build tools in the sandbox, as a user runs them: `python tests/sandbox/build_tools.py [NAME...]` prints a table.

Not part of `make test`: it asks the registries. A tool that fails at `off` as well cannot be had on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TASKS = {
    "npm": """echo {} > package.json && npm install is-number@7.0.0 && npm ci && node -p 'require("is-number")(5)'""",
    "pip": "python3 -m venv venv && venv/bin/pip install -q six && venv/bin/python -c 'import six'",
    "cargo": "cargo init -q --name sample && cargo build -q && cargo run -q",
    "cargo-add": "cargo init -q --name sample && cargo add -q itoa && cargo build -q",
    "go": """go mod init sample && echo 'package main;func main(){println("x")}' > main.go && go build . && ./sample""",
    "go-get": "go mod init sample && echo 'package main;import _ \"rsc.io/quote\";func main(){}' > main.go"
    " && go get rsc.io/quote@v1.5.2 && go build .",
    "gradle": "mkdir -p src/main/java && echo 'class A {}' > src/main/java/A.java"
    """ && echo "apply plugin: 'java'" > build.gradle && gradle --no-daemon -q build && test -e build/classes""",
    "playwright": "export PLAYWRIGHT_BROWSERS_PATH=0 && echo {} > package.json && npm install playwright-core"
    " && npx playwright-core install --only-shell chromium && node -e \"require('playwright-core').chromium.launch()"
    ".then(async b => { await (await b.newPage()).setContent('<h1>x</h1>'); await b.close() })\"",
}
LEVELS = {
    "off": ["--sandbox", "off"],
    "write": ["--sandbox", "write"],
    "hosts": ["--sandbox", "write", "--network", "hosts", "--allow-host", "packages"],
}


def main(names: list[str]) -> int:
    failures = 0
    for name in names or list(TASKS):
        for level, flags in LEVELS.items():
            with tempfile.TemporaryDirectory(prefix="build-tools-") as folder:
                problem = run(Path(folder), TASKS[name], flags)
            print(f"{name:11}{level:7}{'ok' if problem is None else problem}", flush=True)
            if problem is not None and level == "off":
                break
            failures += problem is not None
    return 1 if failures else 0


def run(checkout: Path, task: str, flags: list[str]) -> str | None:
    """Run a task in a new repository. `None` means success, a text what its worker printed last."""
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        identity = ["-c", "user.name=Test User", "-c", "user.email=test@example.invalid"]
        subprocess.run(["git", *identity, *words], cwd=checkout, check=True)
    program = shutil.which("architect", path=os.path.dirname(sys.executable))
    assert program is not None, "architect is not installed beside this python"
    argv = [program, "parallel", task, "--backend", "shell", "--workers", "1", "--json", *flags]
    done = subprocess.run(argv, cwd=checkout, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if not done.stdout:
        return done.stderr[-500:]
    result = json.loads(done.stdout)["results"][0]
    text = f"{result['error']} {result['warnings']} {result['output'][-500:]}"
    return None if result["status"] == "success" else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
