"""Sections that follow the photo, but only while somebody looks at them: closed ones cost the server nothing.

A section's refresh button is never seen. Once an answer has arrived, the browser itself presses the buttons of those
sections that are open; gradio tells the server only of opening and closing.
"""

from typing import Any

import gradio as gr


def refresh_button(elem_id: str) -> gr.Button:
    """The unseen button of the section whose content has that id."""
    return gr.Button("", visible="hidden", elem_id=f"{elem_id}-refresh")


def refresh_open(answered: Any, *elem_ids: str) -> None:
    """Presses the refresh buttons of the open ones of these sections after the event `answered`; no server is asked."""
    answered.success(None, None, None, js=pressing(*elem_ids), api_visibility="private")


def pressing(*elem_ids: str) -> str:
    """The browser's part: a section is open where its content takes room on the page."""
    names = ", ".join(f"'{elem_id}'" for elem_id in elem_ids)
    return (
        f"() => {{ for (const name of [{names}]) {{ const part = document.getElementById(name); "
        "if (part && part.offsetParent) document.getElementById(name + '-refresh')?.click(); } return []; }"
    )
