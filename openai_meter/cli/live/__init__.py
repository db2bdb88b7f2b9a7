"""The live view of the command line: ``openai-meter top``, and ``statusline`` for prompts and status bars.

::

    feeds       where pulses come from: a ledger, or a server
    words       numbers of a pulse in few characters
    frames      a pulse as a page for the terminal
    keyboard    keys and signals, and the terminal as it was before
    top         what `top` does
    line        what `statusline` does
    commands    how both are asked
"""
