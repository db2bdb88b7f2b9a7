"""Is imported relatively."""

NAME = __name__
