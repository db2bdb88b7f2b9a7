"""The command line; loaded when it is used."""

__all__ = ["main"]


def main() -> None:
    """Runs the command line of this process; the console entry ``openai-meter``."""
    from openai_meter.cli.app import main as run  # noqa: PLC0415 - other parts of this package are used without it

    run()
