"""Starts processes in the way that its argument names."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor


class Thing:
    """Is sent to the other process, and has to be found in its main module."""

    def __init__(self, value):
        self.value = value


def double(thing):
    return Thing(2 * thing.value)


def talk(queue):
    queue.put((__name__, sys.argv, double(Thing("a")).value))
    sys.exit(4)


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.SimpleQueue()
    process = context.Process(target=talk, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
    print(process.exitcode)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        print(pool.submit(double, Thing(21)).result().value)
