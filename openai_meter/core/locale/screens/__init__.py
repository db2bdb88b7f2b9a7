"""The texts of dashboards, rules, the live view and commands, one file per language; the catalog includes them."""
