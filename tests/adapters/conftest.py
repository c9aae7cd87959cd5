from __future__ import annotations

import pytest

from ttc_middleware import _calls


@pytest.fixture(autouse=True)
def no_time_to_wait(monkeypatch):
    """Retries come at once, unless the provider asks for a wait; how long pauses are is tested by itself."""
    monkeypatch.setattr(_calls, "pause", lambda attempt, failure: failure.after or 0.0)
