"""Runs the attacks of this folder on other frameworks, offline, with fake models: `python run.py [NAME...]`.

Each framework is installed into a venv of its own below `build/peers`, never into ours; a second run uses it
again. Prints a table: framework, version, what was tried, what happened.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VENVS = HERE.parents[1] / "build" / "peers"
PACKAGES = {"langgraph": "langgraph", "pydantic_ai": "pydantic-ai-slim", "openai_agents": "openai-agents"}
VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


def installed(name: str) -> Path:
    """Returns the Python of the framework's venv, which is made where it isn't there."""
    python = VENVS / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENVS / name)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGES[name]]
    subprocess.run(pip, check=True)
    return python


def main(names: list[str]) -> None:
    for name in names or PACKAGES:
        python = installed(name)
        version = subprocess.run([python, "-c", VERSION, PACKAGES[name]], check=True, capture_output=True, text=True)
        ended = subprocess.run([python, str(HERE / f"on_{name}.py")], check=True, stdout=subprocess.PIPE, text=True)
        print(f"{PACKAGES[name]} {version.stdout.strip()}")
        for attack, outcome in json.loads(ended.stdout).items():
            print(f"  {attack.replace('_', ' '):<52} {outcome}")


if __name__ == "__main__":
    main(sys.argv[1:])
