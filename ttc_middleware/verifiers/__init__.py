"""What is right: one verifier a file, each usable alone with `await verifier.check(output, arguments={…})`."""

from .unit_tests import UnitTests

__all__ = ["UnitTests"]
