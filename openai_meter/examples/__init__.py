"""Programs to read and to try: each runs without a key, against a local stand-in for the API.

    python -m openai_meter.examples.fastapi_users

To add one, write a module with a function ``main()`` and name it in ``tests/examples/test_examples.py``.
"""
