"""Which recipes a change is about."""

import json
import subprocess
from pathlib import Path

import pytest

from runner.control.ci.changed import changed_recipes
from support.bench import Bench, bench

__all__ = ["bench"]


def git(folder: Path, *arguments: str) -> str:
    person = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    done = subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def recipe(folder: Path, name: str, data: str) -> None:
    path = folder / "jobs" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f'name: {name}\nmethod: sft\nmodel: {{model_name_or_path: "builtin:tiny-llama"}}\n'
        f"data: {{train: [{{path: {data}}}]}}\ntraining: {{max_steps: 2}}\n"
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three recipes, of which two have data in the repository."""
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    for name in ("one", "two"):
        (folder / "data" / f"{name}.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
        recipe(folder, name, f"../data/{name}.jsonl")
    recipe(folder, "three", '"builtin:python-docstrings"')
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")
    return folder


def changed(folder: Path, before: str | None) -> tuple[list[str], list[str]]:
    said: list[str] = []
    recipes = [f"jobs/{name}.yaml" for name in ("one", "three", "two")]
    found = changed_recipes(recipes, before, cwd=folder, say=said.append)
    return [Path(each).stem for each in found], said


def test_a_recipe_has_changed_with_its_file_or_its_data(repository: Path) -> None:
    before = git(repository, "rev-parse", "HEAD")
    assert changed(repository, before) == ([], [])
    (repository / "README.md").write_text("x")
    (repository / "data" / "two.jsonl").write_text('{"prompt": "a", "completion": "c"}\n')
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "data")
    assert changed(repository, before) == (["two"], [])
    (repository / "jobs" / "one.yaml").write_text("name: [")
    git(repository, "commit", "-qam", "broken")
    assert changed(repository, before) == (["one", "two"], []), "its launch says what is wrong with it"


def test_what_the_main_branch_got_meanwhile_is_not_the_changes(repository: Path) -> None:
    git(repository, "checkout", "-qb", "change")
    recipe(repository, "three", '"builtin:chat"')
    git(repository, "commit", "-qam", "mine")
    git(repository, "checkout", "-q", "main")
    (repository / "data" / "one.jsonl").write_text('{"prompt": "a", "completion": "d"}\n')
    git(repository, "commit", "-qam", "theirs")
    git(repository, "checkout", "-q", "change")
    assert changed(repository, "main") == (["three"], [])


@pytest.mark.parametrize("before", [None, "f" * 40, "--output=x"])
def test_all_count_if_there_is_nothing_to_compare_with(repository: Path, before: str | None) -> None:
    found, said = changed(repository, before)
    assert found == ["one", "three", "two"]
    assert len(said) == 1
    assert not (repository / "x").exists()


def test_the_command_lists_the_recipes_of_jobs_for_a_matrix(repository: Path, bench: Bench) -> None:
    before = git(repository, "rev-parse", "HEAD")
    recipe(repository, "three", '"builtin:chat"')
    git(repository, "commit", "-qam", "x")
    output = bench.folder / "output"
    done = bench.runner(
        "ci", "changed", "--since", before, "--json", cwd=repository, env={"GITHUB_OUTPUT": str(output)}
    )
    assert json.loads(done.stdout) == ["jobs/three.yaml"], done
    assert done.stdout.count("\n") == 1
    assert output.read_text() == 'recipes=["jobs/three.yaml"]\n'
