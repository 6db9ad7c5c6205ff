"""Finds runs by words: each must occur somewhere in what is known of a run, as people see it.

    tulips resnet18        both words, anywhere: name, id, note, tags, data set, network, status
    "low rate"             these words in this order
    #baseline              a tag that begins like this
Case and accents do not count: "blumchen" finds “Blümchen”.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from resnet_core.errors import ConfigError

if TYPE_CHECKING:
    from resnet_core.training.runs import RunSummary

LONGEST = 200  # characters of a search


def search_runs(summaries: Iterable[RunSummary], words: str) -> tuple[RunSummary, ...]:
    """Those that fit, in their order; without words all of them. Raises ConfigError for a search that is too long."""
    if not isinstance(words, str) or len(words) > LONGEST:
        raise ConfigError(f"Search with at most {LONGEST} characters.")
    asked = [fold(phrase or word).replace('"', "") for phrase, word in re.findall(r'"([^"]*)"|(\S+)', words)]
    wanted = [word for word in asked if word.strip("# ")]
    return tuple(summary for summary in summaries if all(_fits(word, summary) for word in wanted))


def fold(text: str) -> str:
    """The text on one line without case, accents and the difference between wide and narrow letters."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(sign for sign in plain if not unicodedata.combining(sign)).split())


def _fits(word: str, summary: RunSummary) -> bool:
    if word.startswith("#"):
        return any(fold(tag).startswith(word[1:]) for tag in summary.tags)
    return any(word in text for text in _texts(summary))


def _texts(summary: RunSummary) -> list[str]:
    told = (summary.name, summary.run_id, summary.note, summary.dataset, summary.model, summary.status, *summary.tags)
    return [fold(text) for text in told]
