"""A page in a process of its own."""

from pathlib import Path

from benchmarks.pages import Page


def test_the_folder_of_its_caches_need_not_be_there(tmp_path: Path) -> None:
    home = tmp_path / "never" / "used"
    with Page(["-m", "http.server", "--bind", "127.0.0.1"], home=home) as page:
        assert page.wait_until_answered() > 0
    assert (home / "page.log").is_file()
    assert page.process.returncode is not None
