"""Pickles an instance of a class of its own."""

import pickle


class Thing:
    """Has to be found in the main module."""


copy = pickle.loads(pickle.dumps(Thing()))
print(type(copy) is Thing, Thing.__module__, pickle.dumps(Thing, protocol=0))
