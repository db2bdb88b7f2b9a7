"""The texts of recommendations, one file per language; the message catalog of the language includes them."""
