"""Parts of the Feature maps tab that follow what is looked at, but only while somebody looks at them.

A part's refresh button is never seen. The browser presses it when photo, model, layer or channel have changed, or when
an inner tab was opened, and only where the part takes room on the page: hidden parts cost the server nothing.
"""

import hashlib
from typing import Any

import gradio as gr

from demo.classify.opened import refresh_button
from demo.maps.looking import Looking
from resnet_core.data.images import ReadImage

AFTER_MS = 60  # until the page has drawn the tab that was opened


def refreshed_with(looking: Looking, elem_id: str, *, channel: bool = False) -> gr.Button:
    """The refresh button of the part whose content has that id; its `.click` is when to look again."""
    button = refresh_button(elem_id)
    events = [
        looking.photo.change,
        looking.layer.change,
        looking.page_tabs.change,
        looking.tab.select,
        *([looking.channel.change] if channel else []),
    ]
    gr.on(events, None, None, None, js=pressing_soon(elem_id), api_visibility="private")
    looking.model_opened.success(None, None, None, js=pressing_soon(elem_id), api_visibility="private")
    return button


def pressing_soon(elem_id: str) -> str:
    """The browser's part; several changes at once press once."""
    return (
        f"() => {{ clearTimeout(window['{elem_id}-soon']); window['{elem_id}-soon'] = setTimeout(() => {{ "
        f"const part = document.getElementById('{elem_id}'); "
        f"if (part && part.offsetParent) document.getElementById('{elem_id}-refresh')?.click(); }}, {AFTER_MS}); "
        "return []; }"
    )


QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def hash_of(photo: ReadImage) -> str:
    """Tells a photo's pixels from another's."""
    width, height = photo.image.size  # else 20×30 px of one colour would be the same as 30×20
    return f"{width}x{height}-{hashlib.blake2b(photo.image.tobytes(), digest_size=16).hexdigest()}"
