"""The texts of the dashboard, one file per language; the message catalog of the language includes them."""
