"""Failures reach the page as one sentence. Whatever was not expected goes to the log, and the page says so."""

import functools
import logging
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from resnet_core.errors import ResNetLabError

log = logging.getLogger(__name__)

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_JOINER = "\u2060"  # seen by nobody

P = ParamSpec("P")
R = TypeVar("R")


def toast_text(sentence: object) -> str:
    """The sentence for a toast, which takes it for HTML (gradio 6.31): what looks like a tag in it, a file's name for
    one, stays text."""
    return _TAG.sub(f"<{_JOINER}", str(sentence))


def failing_in_a_sentence(handler: Callable[P, R]) -> Callable[P, R]:
    """The handler of a page, with every failure turned into a gr.Error that a person can read."""
    return _guarded(handler, toast_text)


def failing_for_programs(handler: Callable[P, R]) -> Callable[P, R]:
    """The same for an end point of programs, which get the sentence letter by letter."""
    return _guarded(handler, str)


def _guarded(handler: Callable[P, R], wording: Callable[[object], str]) -> Callable[P, R]:
    @functools.wraps(handler)
    def guarded(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return handler(*arguments, **named)
        except gr.Error:
            raise
        except ResNetLabError as error:
            raise gr.Error(wording(error), duration=12, print_exception=False) from None
        except Exception as error:
            log.exception("a handler failed")
            raise gr.Error(unforeseen(error), print_exception=False) from None

    return guarded


def unforeseen(error: Exception) -> str:
    """The sentence for a failure that only the log explains."""
    return f"Something unexpected went wrong ({type(error).__name__}); the log of the app says more."
