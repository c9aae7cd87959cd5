"""The hostile corpus and the honest controls, through `UnitTests`, by every backend and as two users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from nightly import NIGHTLY

from ttc_middleware._errors import SandboxUnavailable
from ttc_middleware.sandbox import select

pytestmark = pytest.mark.slow

RUN = Path(__file__).parent / "corpus_run.py"
NOBODY = 65534
NO_PYTHON = 75
ROOT = os.geteuid() == 0


def corpus(*options):
    command = [sys.executable, str(RUN), "--json", "-", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == NO_PYTHON:
        pytest.skip(done.stderr)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)[0]


def works(backend):
    async def selected():
        await select(backend)

    try:
        anyio.run(selected)
    except (SandboxUnavailable, ValueError):
        return False
    return True


@pytest.mark.timeout(300)
@pytest.mark.parametrize("user", [None, NOBODY], ids=["as oneself", "as nobody"])
@pytest.mark.parametrize("backend", ["bubblewrap", "landlock", "fork-server", "unsafe"])
def test_no_attack_wins_and_no_honest_program_is_misjudged(backend, user):
    if user is not None and not ROOT:
        pytest.skip("only root becomes somebody else")
    if user is None and ROOT and backend == "unsafe":
        pytest.skip("attacks without a sandbox do not run as root")
    if not works(backend):
        pytest.skip(f"{backend} does not work here")
    quick = [] if NIGHTLY or user is None else ["--quick"]  # a minute of CPU less
    report = corpus("--backend", backend, *quick, *([] if user is None else ["--user", str(user)]))
    assert report["won"] == []
    assert report["failed"] == []
    assert report["misjudged"] == []
    assert report["controls"] >= 18
    if backend == "unsafe":  # forgeries alone
        assert sum(report["attacks"].values()) >= 34
    else:
        assert sum(report["attacks"].values()) >= 60
        assert len(report["attacks"]) >= (11 if quick else 20)
        assert report["host_growth"] <= 64 << 20


@pytest.mark.skipif(not ROOT, reason="attacks that can win run as nobody")
@pytest.mark.parametrize("kind", ["reading", "writing", "network"])
def test_attacks_win_where_nothing_stops_them(kind):
    """Else the corpus would prove nothing."""
    report = corpus("--backend", "unsafe", "--only", kind, "--user", str(NOBODY))
    assert len(report["won"]) >= report["attacks"][kind] / 2
