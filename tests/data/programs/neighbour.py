"""Is found because the folder of the script comes first on the path."""
