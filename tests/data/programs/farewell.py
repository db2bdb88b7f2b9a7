"""Says goodbye in several ways, in an order that matters."""

import atexit
import sys
import weakref


class Thing:
    """Speaks when it goes."""

    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("del", self.name, sys is not None)


def goodbye(name):
    print("atexit", name, sys.modules["__main__"].goodbye is goodbye, getattr(sys, "last_type", None))
    sys.stderr.write(f"{name} on stderr\n")


def fail():
    raise RuntimeError("in atexit")


atexit.register(goodbye, "first")
atexit.register(fail)
atexit.register(goodbye, "last")
thing = Thing("thing")
other = Thing("other")
other.itself = other
weakref.finalize(thing, print, "finalize")
if sys.argv[1:]:
    raise KeyError(sys.argv[1])
