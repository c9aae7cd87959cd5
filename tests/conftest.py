from __future__ import annotations

# Hypothesis imports these late, deep in a stack, where compiling them has failed on CPython 3.11 ("AST constructor
# recursion depth mismatch").
import hypothesis.internal.conjecture.optimiser
import hypothesis.internal.conjecture.shrinker  # noqa: F401
import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
