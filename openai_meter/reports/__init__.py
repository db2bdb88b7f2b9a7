"""What is shown: a report is a value, made once from a snapshot, and rendered by whoever is asked."""
