"""Values, words and plumbing that everything stands on."""
