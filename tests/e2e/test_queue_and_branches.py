"""The queue and a branch on the page, through a killed server and beside a second app on the same folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app_process import AppProcess
from gradio_client import Client
from playwright.sync_api import expect
from small_runs import begin, unfold
from visitor import Visitor


def rows(visitor: Visitor) -> Any:
    return visitor.part("#queue-list .ql-title")


def test_the_queue_and_a_branch_outlive_a_killed_server(
    start_app: Callable[..., AppProcess], watch: Callable[..., Visitor], meadow: Path
) -> None:
    app = start_app()
    client = Client(app.url, verbose=False, analytics_enabled=False)
    first = begin(client, meadow, "first")
    visitor, onlooker = watch(app), watch(app, viewport={"width": 390, "height": 800}, color_scheme="dark")
    for each in (visitor, onlooker):
        unfold(each, "#run-queue")
        expect(each.part("#queue-list .ql-empty")).to_contain_text("No run is waiting")
    begin(client, meadow, "second")
    begin(client, meadow, "third")
    for each in (visitor, onlooker):  # nobody pressed anything there
        expect(each.part("#run-queue")).to_contain_text("Waiting runs (2)")
        expect(rows(each)).to_have_text(["second", "third"])
    visitor.page.get_by_role("button", name="Move third up").click()
    for each in (visitor, onlooker):
        expect(rows(each)).to_have_text(["third", "second"])
    onlooker.page.get_by_role("button", name="Take second out of the queue").click()
    for each in (visitor, onlooker):
        expect(rows(each)).to_have_text(["third"])

    unfold(visitor, "#run-fork")
    expect(visitor.part("#fork-epoch input")).not_to_have_value("")
    visitor.fill("#fork-rate", "0.003")
    visitor.fill("#fork-name", "twig")
    visitor.part("#fork-go").click()
    expect(rows(visitor)).to_have_text(["third", "twig"])
    expect(visitor.part(".lb-status")).to_have_text("waiting its turn")
    unfold(onlooker, "#run-fork")
    assert onlooker.sideways() <= 0

    client.close()
    app.kill()
    again = start_app()
    visitor = watch(again)
    unfold(visitor, "#run-queue")
    expect(visitor.part("#run-queue")).to_contain_text("Waiting runs (1)")
    expect(rows(visitor)).to_have_text(["twig"])
    client = Client(again.url, verbose=False, analytics_enabled=False)
    status = {run["name"]: run["status"] for run in client.predict(api_name="/list_runs")}
    assert client.predict(first, api_name="/run_events")["status"] == "interrupted"
    client.close()
    assert status["twig"] == "queued"
    assert status["third"] in ("preparing", "running")
    assert status["second"] == "stopped"

    beside = watch(start_app())
    expect(beside.part("#only-reads")).to_contain_text("only shows what is there")
    unfold(beside, "#run-queue")
    expect(rows(beside)).to_have_text(["twig"])
    beside.part("#train-start").click()
    expect(beside.page.get_by_text("this one only reads", exact=False).first).to_be_visible()
    assert [complaint for each in (visitor, beside) for complaint in each.complaints] == []
