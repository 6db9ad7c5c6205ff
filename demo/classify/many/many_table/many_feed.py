"""What the table in the browser may ask of a batch: one question in, one small reply out; it never raises.

    {"what": "start", "model", "threshold", "count", "ignored", "previous"} {"job", "most"}; the job before is dropped
    {"what": "finish" | "cancel", "job"}                                    {}
    {"what": "news", "job", "cursor"}                                       see ManyJob.news
    {"what": "picture", "job", "row"}                                       {"picture": base64 JPEG or ""}
    {"what": "csv", "job"}                                                  {"csv": text}

Anything else, and every failure, is {"error": sentence}; with "gone": true where the job is not kept any more.
"""

import base64
import logging
from collections.abc import Callable
from typing import Any

from demo.classify.many.many_job import MOST_PICTURES
from demo.classify.many.many_jobs import ManyJobs
from resnet_core.errors import ConfigError, ResNetLabError, RunError

log = logging.getLogger(__name__)

LONGEST_TEXT = 300
LARGEST_NUMBER = 10_000_000

Reply = dict[str, Any]


def make_ask(jobs: ManyJobs) -> Callable[[object], Reply]:
    """The function the browser calls, over these jobs."""
    answers: dict[str, Callable[[Reply], Reply]] = {
        "start": lambda asked: _start(jobs, asked),
        "finish": lambda asked: _told(jobs.find(_text(asked, "job")).finish),
        "cancel": lambda asked: _told(jobs.find(_text(asked, "job")).cancel),
        "news": lambda asked: jobs.find(_text(asked, "job")).news(_number(asked, "cursor")),
        "picture": lambda asked: _picture(jobs, asked),
        "csv": lambda asked: {"csv": jobs.find(_text(asked, "job")).csv()},
    }

    def ask(question: object) -> Reply:
        if isinstance(question, list) and len(question) == 1:  # Gradio hands over the list of arguments
            question = question[0]
        try:
            what = question.get("what") if isinstance(question, dict) else None
            if not isinstance(question, dict) or not isinstance(what, str) or what not in answers:
                raise ConfigError("The page asked in a form this app does not know. Reload the page.")
            return answers[what](question)
        except RunError as error:
            return {"error": str(error), "gone": True}
        except ResNetLabError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("a question about a batch failed")
            return {"error": "Something unexpected went wrong; the log of the app says more."}

    return ask


def _start(jobs: ManyJobs, asked: Reply) -> Reply:
    count = _number(asked, "count")
    model = _text(asked, "model")
    ignored = _number(asked, "ignored")
    previous = _text(asked, "previous") if asked.get("previous") else ""
    threshold = _share(asked, "threshold")
    job = jobs.start(model, threshold=threshold, expected=min(count, MOST_PICTURES), instead_of=previous)
    job.refuse(count - MOST_PICTURES, ignored=ignored)
    return {"job": job.id, "most": MOST_PICTURES}


def _picture(jobs: ManyJobs, asked: Reply) -> Reply:
    picture = jobs.find(_text(asked, "job")).picture(_number(asked, "row"))
    return {"picture": base64.b64encode(picture).decode("ascii") if picture else ""}


def _told(action: Callable[[], None]) -> Reply:
    action()
    return {}


def _text(asked: Reply, key: str) -> str:
    value = asked.get(key)
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ConfigError(f"{key} must be a short text. Reload the page.")
    return value


def _share(asked: Reply, key: str) -> float | None:
    value = asked.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{key} must be a number from 0 to 1. Reload the page.")
    return float(value)


def _number(asked: Reply, key: str) -> int:
    value = asked.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_NUMBER:
        raise ConfigError(f"{key} must be a whole number from 0 on. Reload the page.")
    return value
