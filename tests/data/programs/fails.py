"""Raises an exception of the kind that its argument names."""

import os
import signal
import sys


def fail():
    raise ValueError("wrong\nvalue")


def chained():
    try:
        fail()
    except ValueError as error:
        raise LookupError("not found") from error


def in_handler():
    try:
        fail()
    except ValueError:
        {}["key"]


def group():
    raise ExceptionGroup("several", [ValueError(1), KeyError(2)])


def hook():
    sys.excepthook = lambda kind, value, traceback: print(
        kind,
        value,
        traceback.tb_frame.f_code.co_filename,
        traceback is value.__traceback__,
        sys.last_traceback is traceback,
    )
    fail()


def broken_hook():
    def broken(kind, value, traceback):
        return {}[kind]

    sys.excepthook = broken
    fail()


def leaving_hook():
    sys.excepthook = lambda *_: sys.exit(6)
    fail()


def missing_hook():
    del sys.excepthook
    fail()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_hook():
    sys.excepthook = lambda kind, *_: print("hook", kind)
    raise KeyboardInterrupt


def base():
    raise GeneratorExit("base")


def bad_syntax():
    compile("a b", "somewhere", "exec")


def bad_import():
    import no_such_module  # noqa: F401


def unprintable():
    class UnprintableError(Exception):
        def __str__(self):
            raise RuntimeError

    raise UnprintableError


globals()[sys.argv[1]]()
