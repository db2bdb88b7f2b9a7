"""A local stand-in for the OpenAI API, and a small workflow that calls it: for demonstrations and tests.

=================== =================================================================================================
``server``          the table of endpoints, and :class:`~openai_meter.testing.fake_api.server.DemoServer`, which serves
``in_process``      the same without a socket, for ``fake_client()``
``handlers``        what endpoints share: the request, errors, stored objects, plain and streamed answers
``content``         the texts and token counts of answers: a pure function of the request
``loopback``        the HTTP server
``chat``, ...       the endpoints, by kind
``call_shapes``     the shapes of call that ``openai-meter doctor`` tries
``workflow``        the program of ``openai-meter demo``
=================== =================================================================================================

To add an endpoint, write a function that takes a ``Call`` and returns ``json_answer(...)`` or ``event_answer(...)``, in
the module of its kind, and add its row to ``ROUTES`` in ``server``. To have it tried by the doctor, add a row to
``SHAPES`` in ``call_shapes``. Token counts come from ``content``, never from a clock or a random number.
"""
