"""Hostile programs by class, a text file each, and honest ones; under each line `### its name` one program.

What stands before the first is put before each. Everything here only tries: a program that gets through says "WON" in
what it returns or raises, returns the canary that it should not know, or leaves a mark that the host sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ttc_middleware.sandbox import Limits

Target = Literal["x", "where", ""]
"""What the function is called with: 1, 2 and 3; where to find things, as a dict; nothing."""


_LIMITS = Limits(cpu_s=2, wall_s=60)


@dataclass(frozen=True)
class Class:
    """Attacks of one kind."""

    title: str
    target: Target
    forgery: bool = False
    """Tries to make a wrong answer look right, and does no harm: no sandbox is needed to withstand it."""
    limits: Limits = _LIMITS
    says: str = ""
    """What the feedback has to give as the reason."""
    times: int = 1
    slow: bool = False
    """Takes seconds of CPU."""


CLASSES = {
    "leaving": Class("leaving, dying, raising", "x", forgery=True),
    "equality": Class("objects equal to all", "x", forgery=True),
    "values": Class("giant, deep, colliding values", "x", forgery=True),
    "patching": Class("patching builtins, modules and types", "x", forgery=True),
    "introspection": Class("walking frames, heap and memory", "x", forgery=True),
    "protocol": Class("writing the protocol's frames", "x", forgery=True),
    "later": Class("answering later: threads, timers, finalizers, traces", "x", forgery=True),
    "hardcoding": Class("knowing the public tests", "x", forgery=True),
    "reading": Class("reading files, environment, memory", "where"),
    "writing": Class("writing outside", "where"),
    "network": Class("talking: TCP, UDP, UNIX, abstract, raw", "where"),
    "processes": Class("processes: forks, programs, daemons, bombs", "where", limits=Limits(cpu_s=4, wall_s=60)),
    "signals": Class("signals and schedules of others", "where"),
    "limits": Class("raising limits and rights", "where"),
    "kernel": Class("system calls that no program needs", "where"),
    "leftovers": Class("leaving things for the next one", "where", times=2),
    "memory": Class("memory", "", limits=Limits(cpu_s=5, wall_s=60, memory=256 << 20)),
    "disk": Class("filling the disk", "", limits=Limits(cpu_s=4, wall_s=60, tmp=32 << 20)),
    "spinning": Class("endless work", "", limits=Limits(cpu_s=1, wall_s=60), says="CPU", slow=True),
    "waiting": Class("endless waiting", "", limits=Limits(cpu_s=2, wall_s=2), says="waiting"),
}


def programs(name: str) -> dict[str, str]:
    """The programs of a file by their names."""
    before, *parts = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8").split("\n### ")
    found: dict[str, str] = {}
    for part in parts:
        title, _, source = part.partition("\n")
        found[title] = f"{before}\n{source}"
    return found
