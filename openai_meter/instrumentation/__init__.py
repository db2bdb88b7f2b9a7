"""The only code that patches the openai package, and HTTP libraries.

================== ===================================================================================================
``listening``      the listeners: the installed meter, wrapped clients, blocks, captures. Changes call ``patching``
``patching``       what is patched for them, and when: classes of openai, as they are imported, also when loaded anew
``http``           the wrapper of ``request``: the way of one call from its request to its answer
``include_usage``  injects the option for the usage of chat streams, and removes the chunk with it
``streams``        reads answers while the program reads them
``websockets``     the same for connections: what their wrappers do, turns, sessions billed by the second
``http_clients``   watches HTTP libraries, for calls that do not pass through the openai package
``seams``          marks a request that is metered already, so that no call is counted twice
``sdk``            the names of the openai package that all this uses. To support another version, change it
================== ===================================================================================================
"""
