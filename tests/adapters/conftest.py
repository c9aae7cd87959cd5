from __future__ import annotations

import pytest
import pytest_asyncio
from provider import fresh

import ttc_middleware as ttc
from ttc_middleware import _calls


@pytest.fixture(autouse=True)
def no_time_to_wait(monkeypatch):
    """Retries come at once, unless the provider asks for a wait; how long pauses are is tested by itself."""
    monkeypatch.setattr(_calls, "pause", lambda attempt, failure: failure.after or 0.0)


@pytest_asyncio.fixture
async def litellm_as_it_was():
    """Before and after the test, litellm is not instrumented and keeps no connections."""
    from litellm_calls import close_clients  # noqa: PLC0415  # an extra, of which lanes go without

    fresh()
    ttc.uninstrument()
    yield
    ttc.uninstrument()
    await close_clients()
