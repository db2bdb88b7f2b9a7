"""Recommendations: what could be done at a lower cost, judged by the records of calls.

::

    recommendation  Recommendation
    families        which model is the next smaller one
    call_history    the calls, grouped, and what they would have cost otherwise
    rules           RULES: one function for each kind of advice
    engine          recommendations()

A recommendation is one function in ``rules``. A rule without its evidence in the records recommends nothing. A saving
is the cost of the calls less what they would have cost, by the same price book, at the date and tier of each call.
"""

from openai_meter.reports.advice.engine import recommendations
from openai_meter.reports.advice.recommendation import Recommendation
from openai_meter.reports.advice.rules import RULES

__all__ = ["RULES", "Recommendation", "recommendations"]
