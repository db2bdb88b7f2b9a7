"""Posts alerts to webhooks: your own, Slack's and Discord's.

::

    config      Webhook, and how webhooks are read from settings
    addresses   which addresses may be posted to
    payloads    what is posted, and its signature
    http        one request
    delivery    the queue, thread and retries of each webhook

The body of the format ``standard`` is::

    {"type": "openai_meter.alert", "timestamp": "2026-10-31T12:00:00+00:00", "data": {...}}

with ``Alert.to_dict()`` as data, the name of the ``block`` whose limit it was, and whether it is a ``test``.
There is no prompt, no answer and no key in it. Its ``message`` is for people, all else is for programs.

With a secret, each request is signed by the Standard Webhooks scheme (https://www.standardwebhooks.com). A receiver
verifies it with the package ``standardwebhooks``, over the body as it came in, before it is parsed::

    from standardwebhooks import Webhook, WebhookVerificationError

    alert = Webhook(secret).verify(body, headers)  # raises WebhookVerificationError: not from us, or too old

``webhook-id`` stays the same in every attempt: a receiver that has seen it may forget the request and answer 200.
Alerts come in order, but late ones may come a day later: ``timestamp`` is the time when the limit was passed.
"""

from openai_meter.alerts.webhook.config import Webhook, WebhookStats

__all__ = ["Webhook", "WebhookStats"]
