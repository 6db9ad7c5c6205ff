"""Failures reach the page as one sentence. Whatever was not expected goes to the log, and the page says so."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from resnet_core.errors import ResNetLabError

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def failing_in_a_sentence(handler: Callable[P, R]) -> Callable[P, R]:
    """The handler, with every failure turned into a gr.Error that a person can read."""

    @functools.wraps(handler)
    def guarded(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return handler(*arguments, **named)
        except gr.Error:
            raise
        except ResNetLabError as error:
            raise gr.Error(str(error), duration=12, print_exception=False) from None
        except Exception as error:
            log.exception("a handler failed")
            raise gr.Error(
                f"Something unexpected went wrong ({type(error).__name__}); the log of the app says more.",
                print_exception=False,
            ) from None

    return guarded
