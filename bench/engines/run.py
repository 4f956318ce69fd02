"""The same decision by Remit and by other engines, side by side in one run: `python bench/engines/run.py [NAME...]`.

Each engine is installed into an environment of its own below `build/engines`, never into ours; a second run uses it
again. One that can't be installed, or doesn't do it, is said so. Prints a table in Markdown: microseconds a decision.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VENVS = HERE.parents[1] / "build" / "engines"
PACKAGES = ("remit", "cel-expr-python", "cedarpy", "regopy", "agent-governance-toolkit-core")
VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
COLUMNS = ("20 rules", "1,000 rules", "10,000 rules", "10,000 rows", "1 MB")
LONGEST = 900
"""Seconds for one engine."""


def installed(package: str) -> Path:
    """Returns the Python of the engine's environment, which is made where it isn't there."""
    if package == "remit":
        return Path(sys.executable)
    python = VENVS / package / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENVS / package)], check=True, capture_output=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
    subprocess.run(pip, check=True, capture_output=True)
    return python


def row(package: str) -> str:
    """Returns the engine's line of the table."""
    try:
        python = installed(package)
        version = subprocess.run([python, "-c", VERSION, package], check=True, capture_output=True, text=True).stdout
        script = HERE / f"on_{package.replace('-', '_')}.py"
        ended = subprocess.run([python, str(script)], check=True, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines() if isinstance(error.stderr, str) else []
        return f"| {package} | not measured: {said[-1] if said else error} |"
    except subprocess.TimeoutExpired:
        return f"| {package} | not measured: it took over {LONGEST} s |"
    found = json.loads(ended.stdout)
    return f"| {package} {version.strip()} | " + " | ".join(f"{found[name]:,.1f}" for name in COLUMNS) + " |"


def main(names: list[str]) -> None:
    print("| µs a decision | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for package in names or PACKAGES:
        print(row(package), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
