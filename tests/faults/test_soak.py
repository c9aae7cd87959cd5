"""A soak of its own length runs with `poe soak`; this is a short one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parent.parent.parent / "benchmarks" / "soak.py"


@pytest.mark.slow
def test_of_five_hundred_calls_to_a_server_at_its_worst_nothing_is_left():
    command = [sys.executable, str(SOAK), "--calls", "500", "--seed", "5"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=380)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "calls without an outcome: 0" in said.stdout
