"""What the package shows to the world, and what it costs to import."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
import types

import pytest

import ttc_middleware as ttc

HEAVY = {
    "aiohttp", "anthropic", "genai_prices", "httpx", "httpx2", "jsonschema", "langchain", "langchain_core", "litellm",
    "openai", "opentelemetry.sdk", "pydantic", "requests", "rich", "trio", "xllamacpp",
}  # fmt: skip
ADAPTERS = ["ttc_openai", "ttc_litellm", "ttc_langchain", "ttc_local", "ttc_cli"]


def loaded_by(statement):
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_it_imports_no_sdk_and_no_framework():
    assert not HEAVY & loaded_by("import ttc_middleware")


@pytest.mark.parametrize("adapter", ["ttc_openai", "ttc_litellm"])
def test_the_adapters_of_sdks_import_them_only_when_they_are_used(adapter):
    assert not (HEAVY - {"pydantic"}) & loaded_by(f"import {adapter}")


def test_every_name_that_is_promised_is_there_and_no_other():
    public = {
        name for name in dir(ttc) if not name.startswith("_") and not isinstance(vars(ttc).get(name), types.ModuleType)
    }
    assert public | {"strategies", "verifiers"} == set(ttc.__all__)
    assert all(getattr(ttc, name) is not None for name in ttc.__all__)


@pytest.mark.parametrize(
    "package",
    [
        "ttc_middleware",
        "ttc_middleware.calibration",
        "ttc_middleware.strategies",
        "ttc_middleware.verifiers",
        *ADAPTERS,
    ],
)
def test_what_is_public_explains_itself(package):
    module = importlib.import_module(package)
    assert inspect.getdoc(module)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            assert inspect.getdoc(thing), f"{package}.{name} has no docstring"


def test_a_name_that_is_not_there_is_an_attribute_error_like_any_other():
    with pytest.raises(AttributeError, match="module 'ttc_middleware' has no attribute 'best_of_n'"):
        _ = ttc.best_of_n
    with pytest.raises(AttributeError, match=r"module 'ttc_middleware\.verifiers' has no attribute 'Oracle'"):
        _ = ttc.verifiers.Oracle


def test_configuration_prints_as_one_would_write_it():
    assert repr(ttc.BestOfN(16)) == "BestOfN(16)"
    assert repr(ttc.BestOfN(4, stop="all", at_once=2)) == "BestOfN(4, stop='all', at_once=2)"
    assert repr(ttc.Single()) == "Single()"
    assert repr(ttc.Budget(tokens=5, usd="0.10")) == "Budget(tokens=5, usd=Decimal('0.10'))"
    assert repr(ttc.SelfConsistency(5, by=len)) == "SelfConsistency(5, by=len)"
    assert repr(ttc.Draw(temperature=0.5)) == "Draw(temperature=0.5)"
