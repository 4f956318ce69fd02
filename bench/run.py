"""Runs every measurement and writes bench/RESULTS.md, with the machine and the date.

python bench/run.py
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("decide", "gate", "append", "verify", "guardrails", "backtest", "reviews", "engines/run")


def machine() -> str:
    """Returns what the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        names = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def main() -> int:
    """Runs the scripts one after the other."""
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    today = datetime.now(UTC).date().isoformat()
    parts = [
        "# Measurements",
        f"Made by `make bench` on {today}: {machine()}; load average before: {load}. Trust the ratios, not the figures:"
        " what stands beside each other was measured in one run.",
    ]
    failed = 0
    for name in SCRIPTS:
        sys.stdout.write(f"== bench/{name}.py\n")
        sys.stdout.flush()
        command = [sys.executable, str(HERE / f"{name}.py")]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        sys.stdout.write(done.stdout)
        failed += done.returncode != 0
        parts += [f"## bench/{name}.py", done.stdout.strip()]
    (HERE / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
