"""Prints what a program can know of how it was started."""

import sys

import neighbour

import __main__

names = [name for name in globals() if name not in ("sys", "neighbour")]
print(ascii(sys.argv), ascii(sys.path), ascii(__file__), neighbour.__file__)
print(names, __name__, __doc__, __package__, __spec__, type(__loader__), type(__builtins__))
print(__main__.__dict__ is globals(), vars(sys.modules["__main__"]) is globals(), sys.exc_info())
print(sys.stdin.name, sys.stdout.name, sys.stderr.name, sys.excepthook is sys.__excepthook__)
print([name for name in ("typer", "click", "rich", "pydantic", "openai") if name in sys.modules])
