"""The revision of a recipe's folder is found without running anything that the folder names."""

import subprocess
from pathlib import Path

from runner.git import revision_of


def test_a_program_that_the_folders_settings_name_is_not_run(tmp_path: Path) -> None:
    folder, marker, program = tmp_path / "folder", tmp_path / "ran", tmp_path / "program"
    folder.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    (folder / "file").write_text("")
    person = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for arguments in (["init", "-q"], ["add", "."], [*person, "commit", "-qm", "x"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    subprocess.run(["git", "config", "core.fsmonitor", str(program)], cwd=folder, check=True)
    subprocess.run(["git", "status"], cwd=folder, check=True, capture_output=True)
    assert marker.exists(), "git itself runs it"
    marker.unlink()
    assert revision_of(folder) is not None
    assert not marker.exists()
