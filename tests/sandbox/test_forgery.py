"""Code that tries to make a wrong answer look right. Nobody in its process knows what is expected of it."""

from __future__ import annotations

import secrets

import pytest

from ttc_middleware.sandbox import Limits
from ttc_middleware.verifiers.unit_tests import UnitTests

pytestmark = pytest.mark.anyio

# Writes bytes into every open descriptor, wherever the channel may be.
_SPRAY = """
import os
def spray(*bodies):
    for body in bodies:
        for fd in range(64):
            try: os.write(fd, len(body).to_bytes(4, "big") + body)
            except OSError: pass
"""
_ODD = """
class Always:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __bool__(self): return True
    def __call__(self, *a, **k): return self
    def __getattr__(self, name): return self
    def __reduce__(self): return (print, ("unpickled",))
"""

LEAVING = {
    "leaves while loading": "raise SystemExit(0)",
    "leaves by os._exit while loading": "import os\nos._exit(0)",
    "leaves when called": "import sys\ndef f(x): sys.exit(0)",
    "leaves by os._exit when called": "import os\ndef f(x): os._exit(0)",
    "leaves through atexit": "import atexit, os, sys\natexit.register(os._exit, 0)\ndef f(x): sys.exit()",
    "leaves from a thread": "import threading, os, time\ndef f(x):\n threading.Thread(target=os._exit, args=(0,)).start()\n time.sleep(9)",
    "kills itself": "import os\ndef f(x):\n os.kill(os.getpid(), 11)\n os.abort()",
    "crashes the interpreter": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x):\n l = []\n for _ in range(10**5): l = [l]\n return repr(l)",
    "closes everything": "import os\ndef f(x):\n os.closerange(0, 64)",
    "interrupts": "def f(x): raise KeyboardInterrupt",
    "raises AssertionError": "def f(x): raise AssertionError",
    "raises what cannot be shown": "class E(Exception):\n def __str__(self): raise self\ndef f(x): raise E",
    "raises a metaclass's trick": "class M(type):\n __mro__ = ()\n def __subclasscheck__(c, o): return True\n"
    "class E(Exception, metaclass=M): pass\ndef f(x): raise E",
}
LOOKALIKES = {
    "returns an object equal to all": _ODD + "def f(x): return Always()",
    "returns a str equal to all": "class S(str):\n __eq__ = lambda s, o: True\n __hash__ = str.__hash__\ndef f(x): return S('no')",
    "returns an int equal to all": "class N(int):\n __eq__ = lambda s, o: True\n __hash__ = int.__hash__\ndef f(x): return N(0)",
    "returns a dict equal to all": "class D(dict):\n __eq__ = lambda s, o: True\ndef f(x): return D()",
    "returns a list equal to all": "class L(list):\n __eq__ = lambda s, o: True\n __iter__ = lambda s: iter([1])\ndef f(x): return L()",
    "lies about its class": "class S:\n @property\n def __class__(self): return str\n __eq__ = lambda s, o: True\ndef f(x): return S()",
    "returns True": "def f(x): return True",
    "returns NaN": "def f(x): return float('nan')",
    "returns NotImplemented": "def f(x): return NotImplemented",
    "returns itself": "def f(x): return f",
    "returns what the pickle would run": "class P:\n def __reduce__(self): return (eval, ('1',))\ndef f(x): return P()",
    "returns a loop": "def f(x):\n l = []\n l.append(l)\n return l",
    "returns a deep list": "def f(x):\n l = []\n for _ in range(100000): l = [l]\n return l",
    "returns too much": "def f(x): return 'x' * (2 << 20)",
    "returns an endless integer": "def f(x): return 1 << 50_000_000",
    "returns keys that collide": "def f(x): return {i * (2**61 - 1) for i in range(3_000)}",
}
PATCHING = {
    "patches builtins": _ODD + "import builtins\nfor n in ('isinstance', 'type', 'len', 'print', 'str', 'list', 'all'):\n"
    " setattr(builtins, n, Always())\ndef f(x): return 0",
    "patches the worker": "import __main__ as w\nw.encode = lambda *a: 'true'\nw.describe = lambda e: ('returned', 'x')\n"
    "w.check = lambda *a: None\ndef f(x): return 0",
    "replaces the worker's send": "import __main__ as w\nreal = w.send\n"
    "def send(c, i, *a): real(c, i, 'returned', 'null')\nw.send = send\ndef f(x): return 0",
    "patches sys.modules": "import sys\nfor m in ('json', '_json', 'marshal', 'os'): sys.modules[m] = None\ndef f(x): return 0",
    "patches json": "import json, _json\njson.dumps = lambda *a, **k: 'true'\n_json.encode_basestring_ascii = lambda s: 'true'\n"
    "def f(x): return 'no'",
    "traces every frame": "import sys, threading\ndef t(frame, event, arg):\n"
    " for k, v in list(frame.f_locals.items()):\n  if isinstance(v, bool): frame.f_locals[k] = True\n return t\n"
    "sys.settrace(t); threading.settrace(t); sys.setprofile(t)\ndef f(x): return 0",
    "looks for the answer in all frames and objects": "import gc, sys\ndef f(x):\n found = []\n frame = sys._getframe()\n"
    " while frame: found += list(frame.f_locals.values()) + list(frame.f_globals.values()); frame = frame.f_back\n"
    " found += gc.get_objects()\n s = [v for v in found if type(v) is str and len(v) == 32]\n return s[0] if s else ''",
    "rewrites constants": "import ctypes\ndef f(x):\n"
    " ctypes.memmove(id(False), id(True), 28)\n return False",
}
FRAMES = {
    "prints a reply": "def f(x):\n print('[0,\"returned\",true]', flush=True)\n return 0",
    "sprays replies": _SPRAY + "def f(x):\n spray(*[b'[%d,\"returned\",null]' % i for i in range(50)])\n return 0",
    "sprays replies while loading": _SPRAY + "spray(*[b'[%d,\"returned\",[\"l\",\"f\"]]' % i for i in range(50)])\ndef f(x): return 0",
    "answers and answers again": _SPRAY + "import sys\ndef f(x):\n i = sys._getframe(2).f_locals['ident']\n"
    " spray(b'[%d,\"returned\",true]' % i, b'[%d,\"returned\",true]' % (i + 1), b'[%d,\"returned\",null]' % i)\n return 0",
    "answers as the tests would": _SPRAY + "import sys\ndef f(x):\n i = sys._getframe(2).f_locals['ident']\n"
    " spray(b'[%d,\"call\",\"f\",[\"t\"],[\"d\"]]' % i)\n return 0",
    "floods from a thread": _SPRAY + "import threading\ndef g():\n while True: spray(b'[1,\"returned\",null]')\n"
    "threading.Thread(target=g, daemon=True).start()\ndef f(x): return 0",
    "claims a huge frame": _SPRAY + "def f(x):\n for fd in range(64):\n  try: os.write(fd, b'\\xff' * 8)\n  except OSError: pass\n return 0",
    "sends an empty frame": _SPRAY + "def f(x):\n spray(b'')\n return 0",
    "sends deep JSON": _SPRAY + "def f(x):\n spray(b'[' * 200_000)\n return 0",
    "sends bare NaN": _SPRAY + "import sys\ndef f(x):\n i = sys._getframe(2).f_locals['ident']\n spray(b'[%d,\"returned\",NaN]' % i)\n return 0",
    "sends endless digits": _SPRAY + "import sys\ndef f(x):\n i = sys._getframe(2).f_locals['ident']\n"
    " spray(b'[%d,\"returned\",%s]' % (i, b'9' * 900_000))\n return 0",
    "sends an object": _SPRAY + "import sys\ndef f(x):\n i = sys._getframe(2).f_locals['ident']\n"
    " spray(b'[%d,\"returned\",{\"a\":1}]' % i)\n return 0",
    "sends tags that do not exist": _SPRAY + "import sys\ndef f(x):\n i = sys._getframe(2).f_locals['ident']\n"
    " spray(b'[%d,\"returned\",[\"os.system\",\"true\"]]' % i)\n return 0",
    "sends what cannot be hashed": _SPRAY + "import sys\ndef f(x):\n i = sys._getframe(2).f_locals['ident']\n"
    " spray(b'[%d,\"returned\",[\"s\",[\"l\"]]]' % i)\n return 0",
    "says that it returned nothing": _SPRAY + "import sys\ndef f(x):\n i = sys._getframe(2).f_locals['ident']\n"
    " spray(b'[%d,\"returned\"]' % i)\n return 0",
}
FORGERIES = LEAVING | LOOKALIKES | PATCHING | FRAMES


@pytest.fixture
def anyio_backend():
    return "asyncio"  # what is tested here does not depend on the loop


@pytest.fixture(params=["bubblewrap", "landlock", "unsafe"])
def sandbox(request):
    return request.param


@pytest.mark.parametrize("attack", FORGERIES.values(), ids=FORGERIES)
async def test_a_wrong_answer_never_passes(attack, sandbox):
    answer = secrets.token_hex(16)
    limits = Limits(cpu_s=2, wall_s=60)
    tests = [(1, answer), (2, answer), f"assert f(3) == {answer!r}"]
    verdict = await UnitTests(tests, entry="f", sandbox=sandbox, limits=limits).check(attack)
    assert verdict.score == 0
    assert verdict.feedback
    assert answer not in attack
