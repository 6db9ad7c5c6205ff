"""Small real trainings for browser tests, and the sections of the Train tab."""

from pathlib import Path

from gradio_client import Client
from visitor import Visitor

SETTINGS = {
    "model": "resnet8", "image_size": 16, "resize": 16, "batch_size": 8, "device": "cpu", "num_threads": 1,
    "epochs": 5000, "keep": "all",
}  # fmt: skip


def begin(client: Client, folder: Path, name: str) -> str:
    answer = client.predict(str(folder), {**SETTINGS, "name": name}, api_name="/start_training")
    return str(answer["run_id"])


def unfold(visitor: Visitor, section: str) -> None:
    visitor.part(f"{section} > button").click()
