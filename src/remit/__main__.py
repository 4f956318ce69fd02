"""`python -m remit` is the CLI."""

from __future__ import annotations

from remit.cli import main

if __name__ == "__main__":
    main()
