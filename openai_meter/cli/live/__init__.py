"""The parts of the commands ``top`` and ``statusline``.

::

    options     what both commands share on the command line
    feeds       the sources of pulses: a ledger, or a server
    marks       numbers of a pulse in few characters
    frames      a pulse as a page for the terminal
    keyboard    keys and signals, and the terminal as it was before
    screen      the page of `top`, drawn anew each second
    line        the line of `statusline`
"""
