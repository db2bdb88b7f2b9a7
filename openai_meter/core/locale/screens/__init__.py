"""The sentences of what is shown beside reports, one file per language: each language's own file takes them in."""
