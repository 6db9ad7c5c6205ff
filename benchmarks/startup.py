"""`python app.py` until the page answers, against importing torch and gradio and opening an empty Blocks.

Fresh processes, alternating; the ratio is the median over neighbours.
"""

import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROUNDS = 5
ROOT = Path(__file__).resolve().parents[1]
PLAIN = """
import sys, torch, torchvision, gradio
with gradio.Blocks() as page: pass
page.launch(server_port=int(sys.argv[1]), prevent_thread_lock=False, quiet=True, ssr_mode=False)
"""


def run() -> dict[str, Any]:
    """Seconds to the first answered request on both sides, and the ratio."""
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            app = [sys.executable, "app.py", "--runs-dir", f"{folder}/runs", "--data-dir", f"{folder}/data", "--port"]
            times["ours"].append(_until_answered(app))
            times["plain"].append(_until_answered([sys.executable, "-c", PLAIN]))
    ratios = [a / b for a, b in zip(times["ours"], times["plain"], strict=True)]
    return {
        "seconds_ours": round(statistics.median(times["ours"]), 2),
        "seconds_plain": round(statistics.median(times["plain"]), 2),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }


def _until_answered(command: list[str]) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.perf_counter()
    process = subprocess.Popen([*command, str(port)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - started < 120:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                return time.perf_counter() - started
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        raise TimeoutError("the page did not answer within two minutes")
    finally:
        process.terminate()
        process.wait(30)
