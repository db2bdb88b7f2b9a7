"""The only code that patches the openai package.

================== ===================================================================================================
``listening``      who listens: the installed meter, wrapped clients, blocks, captures. Each change calls ``patching``
``patching``       what is patched for them, and when: classes of openai, as they are imported, also when loaded anew
``http``           what the wrapper of ``request`` does: the way of one call from its request to its answer
``include_usage``  asks for the usage of chat streams, and hides the chunk that answers
``streams``        reads answers while the program reads them
``websockets``     the same for connections: what their wrappers do, turns, sessions billed by the second
``sdk``            the names of the openai package that all this leans on. To support another version, change it
================== ===================================================================================================
"""
