from __future__ import annotations

import gc

# Hypothesis imports these late, deep in a stack, where compiling them has failed on CPython 3.11 ("AST constructor
# recursion depth mismatch").
import hypothesis.internal.conjecture.optimiser
import hypothesis.internal.conjecture.shrinker  # noqa: F401
import pytest
from hypothesis import settings
from nightly import NIGHTLY

# A run of every change repeats its examples, so that it fails for what was changed; the nightly one looks for new ones.
# A busy machine takes any time at all: no test depends on it.
settings.register_profile("nightly", deadline=None)
settings.register_profile("repeatable", settings.get_profile("nightly"), derandomize=True)
settings.load_profile("nightly" if NIGHTLY else "repeatable")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(autouse=True, scope="module")
def _answers_for_what_it_leaves():
    """What a module's tests leave open is noticed there, and not in whatever test the next collection falls into."""
    gc.freeze()  # what is there already is not looked through again
    yield
    gc.collect()
