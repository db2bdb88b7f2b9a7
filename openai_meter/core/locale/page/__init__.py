"""The sentences of the page in the browser, one file per language: each language's own file takes them in."""
