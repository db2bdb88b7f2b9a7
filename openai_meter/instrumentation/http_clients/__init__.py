"""Watches HTTP libraries, for traffic to the API that does not pass through the openai package.

=============== ======================================================================================================
``switch``      the setting ``http``: off, on, or on where a package is loaded that sends requests of its own
``libraries``   the table of what is patched, library by library. To watch another one, add a row and a module
``exchange``    what all libraries share: which requests are metered, and how they are sent
``httpx``       httpx and httpx2
``files``       the bytes of an answer as they are read from a socket's file: for the next three
``http_client`` the standard library's ``http.client``
``urllib3``     urllib3, below requests
``requests``    requests
``aiohttp``     aiohttp
``lm15``        the HTTP client of dspy's default engine
=============== ======================================================================================================
"""
