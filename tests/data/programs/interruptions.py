"""Raises KeyboardInterrupt in the package, at any place where a signal handler could run."""

import dis
from functools import cache

from openai_meter.metering.attribution import Attribution
from openai_meter.metering.plain_calls import PlainCall, PlainKind

CHECKS = ("RESUME", "CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
"""How the names of the instructions begin after which the interpreter looks at signals."""


def kind(model, user):
    """A kind of plain calls."""
    return PlainKind(
        endpoint="chat.completions", provider="openai", host="api.openai.com", model=model, requested_model=model,
        service_tier=None, attribution=Attribution(user=user), block=None, day=0.0, state=None, book=None,
        text_amount=None, price_reason=None, price_source=None, owner=(None, None),
    )  # fmt: skip


KINDS = (kind("m", None), kind("n", None), kind("n", "ada"))


def plain(number=0):
    """A plain call of ten tokens."""
    return PlainCall(KINDS[number % 3], 5.0 + number, 0.25, None, f"id-{number}", 6, 4, 10, 2, 0, 1, 7, (None,) * 6)


@cache
def names_of(code):
    """The names of the instructions of a function, by their offsets."""
    return {one.offset: one.opname for one in dis.get_instructions(code)}


@cache
def handlers_of(code):
    """The exception table of a function."""
    return [(range(one.start, one.end), one.target) for one in dis.Bytecode(code).exception_entries]


def handler_at(code, offset):
    """The handler of an exception that is raised at an offset of a function."""
    return next((target for where, target in handlers_of(code) if offset in where), None)


class Interrupter:
    """A trace function that raises KeyboardInterrupt, once; in the modules whose path ends in one of ``modules``."""

    def __init__(self, place, modules=(".py",)):
        self.left = place
        self.modules = modules
        self.raised = False
        self._before = {}

    def __call__(self, frame, event, _):
        """Looks at an event of the interpreter."""
        if "openai_meter" not in frame.f_code.co_filename or not frame.f_code.co_filename.endswith(self.modules):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.raised:
            before, self._before[frame] = self._before.get(frame, -1), frame.f_lasti
            name = "RESUME" if before < 0 else names_of(frame.f_code)[before]
            not_taken = "BACKWARD" in name and before < frame.f_lasti
            # The interpreter finds the handler by the instruction that is over, a trace function by the next one.
            same_handler = before < 0 or handler_at(frame.f_code, before) == handler_at(frame.f_code, frame.f_lasti)
            if name.startswith(CHECKS) and not not_taken and same_handler:
                self.left -= 1
                if self.left < 0:
                    self.raised = True
                    raise KeyboardInterrupt
        return self
