"""Builds the wheel, installs it with pip into a bare environment, and runs the demo from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str, **options: object) -> str:
    print("+", *command, flush=True)
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    return str(done.stdout)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        run("uv", "build", "--quiet", "--wheel", "--out-dir", str(scratch), cwd=ROOT)
        (wheel,) = scratch.glob("*.whl")
        venv.create(scratch / "bare", with_pip=True)
        python = str(scratch / "bare" / "bin" / "python")
        run(python, "-m", "pip", "install", "--quiet", str(wheel), cwd=folder)
        # The core alone, without a single extra.
        run(python, "-c", "import ttc_middleware, ttc_openai, ttc_anthropic, ttc_litellm, ttc_cli", cwd=folder)
        run(python, "-m", "pip", "install", "--quiet", f"{wheel}[local]", cwd=folder)
        names = run(python, "-m", "pip", "list", "--format=freeze", cwd=folder).lower()
        assert "llama-cpp" not in names, "the embedded model must not bring a compiler"
        # A cache of its own: the model is fetched as it would be for a newcomer.
        environment = {**os.environ, "TTC_CACHE": str(scratch / "cache"), "HOME": folder}
        ttc = str(scratch / "bare" / "bin" / "ttc")
        printed = run(ttc, "demo", "--n", "2", "--json", cwd=folder, env=environment)
        figures = json.loads(printed)
        assert figures["samples"] >= figures["tasks"] >= 8, figures
        assert figures["bill"]["total"]["output_tokens"] == figures["generated_tokens"] > 0, figures
        print(
            f"{wheel.name}: {figures['accepted_by_search']} of {figures['tasks']} tasks, {figures['samples']} samples"
        )


if __name__ == "__main__":
    sys.exit(main())
