"""Starts a side in a process of its own and never waits for it longer than agreed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Options

ROOT = Path(__file__).resolve().parents[1]


def run_side(name: str, side: str, options: Options, *, timeout: float) -> dict[str, Any]:
    """What the side's fresh process wrote, or {"failed": why}; its output and warnings do not reach the screen."""
    with tempfile.TemporaryDirectory(prefix="resnet-lab-bench-", ignore_cleanup_errors=True) as folder:
        output, log = Path(folder) / "measured.json", Path(folder) / "output.txt"
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.worker", name, side, "--output", str(output)]
        command += ["--precision", options.precision, "--data-dir", str(options.data_dir.resolve())]
        with log.open("wb") as written:
            code = _run(command, timeout=timeout, output=written.fileno())
        if code is None:
            return {"failed": f"took longer than {timeout:g} s"}
        try:
            return dict(json.loads(output.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {"failed": _last_words(code, log)}


def _run(command: list[str], *, timeout: float, output: int) -> int | None:
    """The exit code, or None after `timeout`; whatever the side itself started ends with it."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=os.name != "nt",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the side and every process it left behind."""
    if os.name == "nt":
        if process.poll() is None:
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nothing of the group is left
        except PermissionError:
            process.kill()  # macOS says so where only a zombie is left
    process.wait()


def _last_words(code: int, log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"its process {how}" + (f": {lines[-1][:200]}" if lines else "")
