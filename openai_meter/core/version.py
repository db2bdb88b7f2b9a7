"""The version, and the name under which the package index has this distribution."""

__all__ = ["DISTRIBUTION", "__version__", "install_command"]

__version__ = "0.1.0"

DISTRIBUTION = "openai-meter"
"""The name for pip. ``pyproject.toml`` has it too, and a test holds the two equal."""


def install_command(extra: str) -> str:
    """The command that installs an extra of this distribution."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'
