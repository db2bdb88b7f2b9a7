"""The pages of the documentation, and the script that makes their pictures."""
