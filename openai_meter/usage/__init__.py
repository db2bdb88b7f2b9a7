"""What a call consumed: read from the answers of the API, or estimated."""
