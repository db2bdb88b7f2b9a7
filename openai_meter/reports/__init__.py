"""Reports: a report is a value, made once from a snapshot; renderers turn it into text, tables, JSON, CSV, HTML.

A column of a table is one row of ``tables.COLUMNS``, a form of report one row of ``renderers.RENDERERS``.
"""
