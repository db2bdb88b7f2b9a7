"""Exits in the way that its argument names."""

import os
import sys

WAYS = {"0": 0, "3": 3, "text": "a sentence", "none": None, "object": ("a", 1), "big": 256 + 7, "true": True}

if sys.argv[1] == "hard":
    os._exit(5)
if sys.argv[1] != "end":
    sys.exit(WAYS[sys.argv[1]])
