"""A button that hands the visitor a small text file, made when it is pressed; nothing of it stays on the server."""

import contextlib
from collections.abc import Callable
from typing import Any

import gradio as gr

SAVE = """(file) => {
  if (!file || !file.text) return null;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.text], {type: "text/plain;charset=utf-8"}));
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return null;
}"""


def take_file(button: gr.Button, make: Callable[..., dict[str, str]], inputs: Any) -> None:
    """Lets the button save what `make` gives: {"name": …, "text": …}; where it raises, the page says so instead."""
    with button.parent or contextlib.nullcontext():  # beside the button, wherever this is called
        parcel = gr.JSON(visible=False)
    made = button.click(make, inputs, parcel, api_visibility="private", show_progress="hidden")
    made.success(None, parcel, parcel, js=SAVE, api_visibility="private", show_progress="hidden")
