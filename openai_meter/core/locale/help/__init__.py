"""The texts of ``--help``: a file for each language, all with the same keys. Loaded only for the command line."""
