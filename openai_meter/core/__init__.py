"""Values, texts, threads and settings, which all other packages use."""
