"""Finding the code in what a model wrote."""

from __future__ import annotations

import re

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^`]*\Z")
_PYTHON = ("python", "py", "python3")


def extract_code(output: object) -> str:
    """The code in a model's answer: its first Python block, else its first block, else all of it.

    A block is fenced as in Markdown; one that never closes runs to the end.

    Raises:
        TypeError: the output is no string.
    """
    if not isinstance(output, str):
        raise TypeError(f"code is searched for in text, not in {type(output).__name__}: extract= says where it is")
    blocks: list[tuple[str, list[str]]] = []
    fence, indent = "", 0
    for line in output.replace("\r\n", "\n").split("\n"):
        match = _FENCE.match(line)
        if match and not fence:
            fence, indent = match[2], len(match[1])
            blocks.append((match[3].lower(), []))
        elif match and match[2].startswith(fence) and not match[3]:
            fence = ""
        elif fence:
            blocks[-1][1].append(line if line[:indent].strip() else line[indent:])
    chosen = next((lines for language, lines in blocks if language in _PYTHON), blocks[0][1] if blocks else [output])
    return "\n".join(chosen)
