"""``python -m openai_meter`` is the command ``openai-meter``."""

from openai_meter.cli.app import main

if __name__ == "__main__":
    main()
