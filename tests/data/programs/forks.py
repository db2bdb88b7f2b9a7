"""Forks, and waits for a child that ends in the way that its argument names."""

import os
import signal
import sys

reading, writing = os.pipe()
child = os.fork()
if not child:
    if sys.argv[1] == "exit":
        print("child", flush=True)
        sys.exit(7)
    if sys.argv[1] == "raise":
        raise ValueError("in the child")
    print("child", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
    os.write(writing, b"!")
    signal.pause()
if sys.argv[1] == "term":
    os.read(reading, 1)
    os.kill(child, signal.SIGTERM)
print("parent", os.waitpid(child, 0)[1])
