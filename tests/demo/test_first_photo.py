"""Who drops a photo while the network still loads gets its answer, and keeps it."""

import asyncio
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest

from demo.classify.one_photo import one_photo_tab
from demo.examples import RENDERED
from demo.services import Services
from resnet_core.data.images import read_image_with_notes

VISITOR = gr.Request(headers={"accept-language": "en"})


@pytest.fixture(scope="module")
def page(services: Services) -> gr.Blocks:
    async def made() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page:
            one_photo_tab(services, page)
        return page

    return asyncio.run(made())


def writers(page: gr.Blocks) -> list[Any]:
    """The functions that write the answer's card."""
    return [each for each in page.fns.values() if any(is_card(output) for output in each.outputs)]


def is_card(output: Any) -> bool:
    return getattr(output, "elem_id", None) == "classify-answer"


def called(page: gr.Blocks, name: str) -> Callable[..., Any]:
    return next(each.fn for each in page.fns.values() if each.fn is not None and each.fn.__name__ == name)


def test_what_greets_the_page_writes_no_answer(page: gr.Blocks):
    """It waits until everything is loaded: an answer that came meanwhile would be wiped."""
    assert len(writers(page)) >= 3
    assert not [each for each in writers(page) if any(event == "load" for _, event in each.targets)]


def test_the_page_invites_only_while_there_is_no_photo(page: gr.Blocks):
    invite = called(page, "invite")
    assert "Drop a flower photo" in invite(None, VISITOR)
    assert invite(read_image_with_notes(RENDERED[0]), VISITOR) == gr.skip()
    assert [each for each in writers(page) if each.fn is invite], "else it would go on loading for ever"
