"""A run is steered from the page: paused, given another learning rate, branched off, killed, taken up, overlaid."""

from collections.abc import Callable
from pathlib import Path

from app_process import AppProcess
from gradio_client import Client
from playwright.sync_api import expect
from small_runs import begin, unfold
from visitor import Visitor


def test_a_run_is_paused_changed_branched_killed_resumed_and_overlaid(
    start_app: Callable[..., AppProcess],
    watch: Callable[..., Visitor],
    meadow: Path,
) -> None:
    app = start_app()
    client = Client(app.url, verbose=False, analytics_enabled=False)
    run_id = begin(client, meadow, "trunk")
    visitor = watch(app)
    log = visitor.part(".lb-log")
    expect(log).to_contain_text("Epoch 1: ")

    visitor.part("#train-pause").click()
    expect(visitor.part(".lb-status")).to_have_text("paused")
    unfold(visitor, "#train-change")
    expect(visitor.part("#change-rate textarea, #change-rate input")).to_be_editable()
    visitor.page.wait_for_timeout(500)  # the section has just been mounted and sets its fields once
    visitor.fill("#change-rate", "0.0123")
    visitor.part("#change-apply").click()
    expect(visitor.page.get_by_text("next epoch", exact=False).first).to_be_visible()
    visitor.part("#train-resume").click()
    expect(log).to_contain_text("0.0123")

    unfold(visitor, "#run-fork")
    visitor.fill("#fork-rate", "0.003")
    visitor.fill("#fork-name", "branch")
    visitor.part("#fork-go").click()
    expect(visitor.part(".lb-status")).to_have_text("waiting its turn")
    client.close()
    app.kill()

    again = start_app()  # its queue goes on with the branch; the trunk waits for a person
    client = Client(again.url, verbose=False, analytics_enabled=False)
    assert client.predict(run_id, api_name="/run_events")["status"] == "interrupted"
    visitor = watch(again)
    expect(visitor.part(".lb-title")).to_have_text("branch")
    visitor.part(".lb-compare-label").click()
    visitor.part(".lb-runs").get_by_role("checkbox", name="trunk").check()
    visitor.page.keyboard.press("Escape")
    expect(visitor.page.locator("[data-chart=loss] .lb-key-name")).to_have_text(["branch", "trunk"])
    expect(visitor.part(".lb-table")).to_contain_text("0.003")
    visitor.part("#train-stop").click()
    expect(visitor.part(".lb-status")).to_have_text("stopped")

    visitor.page.locator("#train-run input").click()
    visitor.page.get_by_role("option").filter(has_text="trunk").click()
    expect(visitor.part(".lb-status")).to_have_text("interrupted")
    before = client.predict(run_id, api_name="/run_events")["cursor"]
    visitor.part("#train-resume").click()
    expect(visitor.part(".lb-status")).to_have_text("running")
    expect(visitor.part(".lb-log")).to_contain_text("Resumed")
    news = client.predict(run_id, before, api_name="/run_events")["events"]
    assert any(event["event"] == "Resumed" for event in news)
    client.close()
    assert visitor.complaints == []
