"""A calibration as one HTML page: nothing is loaded from anywhere, and nothing runs."""

from __future__ import annotations

import io
import os
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ._plot import draw

_STYLE = """
body { margin: 2.5rem auto; max-width: 56rem; padding: 0 1.25rem; background: #fff; color: #1a1a1a;
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; font-weight: 600; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
img { width: 100%; } .wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #dcdcdc; text-align: right; white-space: nowrap; }
th { color: #5c5c5c; font-weight: 600; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write(
    calibration: Any,
    path: str | os.PathLike[str],
    lines: Sequence[str],
    tables: Sequence[tuple[str, Sequence[Sequence[str]]]],
) -> None:
    """Write a page: what was found in words, the picture, the tables.

    Args:
        calibration: a `Calibration`.
        path: where to.
        lines: its heading, then what it says in words.
        tables: each with its title; the first line of each names its columns.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is nothing to draw.
        OSError: the file cannot be written.
    """
    picture = io.BytesIO()
    draw(calibration, picture)
    heading, *rest = lines
    parts = [
        f"<h1>{escape(heading)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in rest),
        f'<img alt="Accuracy by tokens" src="data:image/png;base64,{b64encode(picture.getvalue()).decode()}">',
        *(f"<h2>{escape(title)}</h2>{_table(table)}" for title, table in tables),
    ]
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(heading)}</title><style>{_STYLE}</style>"
    )
    Path(path).write_text("\n".join([head, *parts, ""]), encoding="utf-8", errors="backslashreplace")


def _table(table: Sequence[Sequence[str]]) -> str:
    head, *rows = table
    columns = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{columns}</tr>{body}</table></div>'
