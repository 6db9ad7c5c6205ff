"""More pictures than one call of /classify_many takes."""

from types import SimpleNamespace

import pytest

import demo.api
from resnet_core.errors import ImageError


def test_those_beyond_the_limit_are_told_so_and_the_others_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    def answer_all(desk: object, classifier: object, files: list, *, top_k: int) -> list[ImageError]:
        looked_at.extend(file.name for file in files)
        return [ImageError("broken") for _ in files]

    monkeypatch.setattr(demo.api, "answer_all", answer_all)
    services = SimpleNamespace(desk=None, classifier=lambda name: None)
    rows = demo.api._many(services, [f"/tmp/{n}.jpg" for n in range(1000)], "flowers", 5)
    assert [row["image"] for row in rows] == [f"{n}.jpg" for n in range(1000)]
    assert looked_at == [f"{n}.jpg" for n in range(500)]
    assert {row["error"] for row in rows[:500]} == {"broken"}
    told = "A call takes 500 pictures; of this one 500 were not looked at."
    assert {row["error"] for row in rows[500:]} == {told}
