"""Leaves work to threads that outlive the main module, and that need it."""

import sys
import threading

ended = threading.Event()


class Thing:
    """Has to be found in the main module."""


def work():
    threading.main_thread().join()
    print("thread", sys.modules["__main__"].Thing is Thing, __name__)
    ended.set()


def fail():
    ended.wait()
    raise ValueError("in a thread")


threading.Thread(target=work).start()
threading.Thread(target=fail, name="failing").start()
print("main")
sys.exit(3)
