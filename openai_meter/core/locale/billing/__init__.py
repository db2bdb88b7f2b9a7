"""The texts of reconciliations, a file for each language."""
