"""Prints what a module can know of how it was started, and raises what it is told to."""

import sys

from .helper import NAME

print(sys.argv[1:], sys.argv[0] == __file__, sys.path[0], __name__, __package__, __spec__.name, type(__loader__), NAME)
print([name for name in globals() if name not in ("sys", "NAME")], sys.modules["__main__"].__dict__ is globals())
if sys.argv[1:]:
    raise LookupError(sys.argv[1])
