"""The only code that patches the openai package."""
