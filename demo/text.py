"""Every word the pages show, in English and Chinese.

Fixed labels go through `LABELS` (Gradio picks the browser's language); sentences made on the server through `say`.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import gradio as gr

from demo import words as areas

_PARTS = tuple(import_module(f"{areas.__name__}.{found.name}") for found in iter_modules(areas.__path__))
_WORDS = {key: words for part in _PARTS for key, words in part.LABELS.items()}
_SENTENCES = {key: words for part in _PARTS for key, words in part.SENTENCES.items()}

LABELS = gr.I18n(
    en={key: words[0] for key, words in _WORDS.items()},
    zh={key: words[1] for key, words in _WORDS.items()},
    **{"zh-CN": {key: words[1] for key, words in _WORDS.items()}},
)


def label(key: str) -> Any:
    """A fixed label in the language of whoever opens the page."""
    assert key in _WORDS, key
    return LABELS(key)


def language_of(request: gr.Request | None) -> str:
    """ "zh" for a browser that prefers Chinese, else "en"."""
    accepted = request.headers.get("accept-language", "") if request is not None else ""
    return "zh" if accepted.lower().startswith("zh") else "en"


def say(key: str, language: str = "en", **values: Any) -> str:
    """The sentence in that language with its values filled in."""
    english, chinese = _SENTENCES[key]
    return (chinese if language == "zh" else english).format(**values)
