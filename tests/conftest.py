"""Settings that every test shares; fixtures live beside the tests that use them."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# On CI the same examples every time, and no deadline: a slow machine is not a wrong program.
settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

_LONG = ("tests/test_docs.py", "tests/test_demo.py", "tests/test_example.py", "tests/faults/", "tests/types/")
"""Where tests take longest. They begin first, so that no worker is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the long ones first; which order tests run in changes nothing for any of them."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))
