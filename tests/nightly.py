"""How long the property tests search: seconds by default, much longer with TTC_TESTS=nightly in the environment."""

from __future__ import annotations

import os

from hypothesis import settings

NIGHTLY = os.environ.get("TTC_TESTS", "") == "nightly"


def examples(default: int) -> int:
    return 600 if NIGHTLY else default


def thorough(default: int, steps: int = 50) -> settings:
    return settings(
        max_examples=examples(default), stateful_step_count=60 if NIGHTLY else steps, deadline=None, database=None
    )
