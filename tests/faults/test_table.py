"""The table of faults names tests that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", (HERE / "README.md").read_text())))


def test_the_table_names_tests():
    assert len(NAMED) > 30


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}::{name}" for file, name in NAMED])
def test_a_test_of_the_table_exists(file, name):
    assert re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE)


def test_the_linter_forbids_pickles(tmp_path):
    bad = TESTS.parent / "ttc_middleware" / "_pickled.py"  # never written: ruff reads it from its input
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", str(bad), "-"]
    said = subprocess.run(command, input="import pickle\n", capture_output=True, text=True, check=False)
    assert "pickle" in said.stdout
    assert said.returncode == 1
