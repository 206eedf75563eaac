"""From a name to a recipe that can be trusted, or to one clear message, with nothing created."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.loading import finder
from runner.recipe.loading.load import check_recipe, load_recipe
from runner.recipe.loading.strict_yaml import parse_document
from runner.recipe.recipe import Recipe
from runner.recipe.schema import recipe_schema
from support.recipes import RECIPE, Check, Refuse, settings_of


def everything_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def test_a_recipe_survives_run_json(check: Check) -> None:
    """What `to_mapping` gives is JSON, and `from_mapping` takes it back as it was."""
    recipe = check(
        "adapter={r: 4, target_modules: all-linear}",
        "data.eval=[{path: user/data, split: test, sample: 10}]",
        "evaluate={before_and_after: true, prompts: [Explain str.join]}",
        "resources={accelerators: {T4: 1}, use_spot: true}",
    ).recipe
    assert Recipe.from_mapping(json.loads(json.dumps(recipe.to_mapping()))) == recipe


def test_settings_are_json_and_complete(check: Check) -> None:
    """`run.json` holds every setting that there is, each once."""
    settings = check("adapter={r: 4}").settings
    assert json.loads(json.dumps({key: setting.value for key, setting in settings.items()}))
    for key in ("adapter.lora_alpha", "training.optim", "model.dtype", "evaluate.max_new_tokens", "export.merge"):
        assert settings[key].source == "default"
    assert "adapter.lora_alpha" not in check().settings


def test_a_recipe_without_a_name_is_called_as_its_file(check: Check, refuse: Refuse) -> None:
    """A name need not be written twice."""
    text = RECIPE.replace("name: tiny\n", "")
    loaded = check(text=text, file="my-run.yaml")
    assert loaded.recipe.name == "my-run"
    assert loaded.settings["name"].source == "default"
    assert settings_of(refuse(text=text, file="My Run.yaml")) == ["name"]


# -- finding ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the shipped recipes, apart from the working directory."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(finder, "bundled_recipes_folder", lambda: folder)
    return folder


def test_the_working_directory_hides_shipped_recipes(shipped: Path, tmp_path: Path) -> None:
    """A name means ./jobs first."""
    (shipped / "one.yaml").write_text(RECIPE.replace("name: tiny", "name: shipped"))
    assert load_recipe("one", cwd=tmp_path).recipe.name == "shipped"
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/one.yml").write_text(RECIPE.replace("name: tiny", "name: mine"))
    loaded = load_recipe("one", cwd=tmp_path)
    assert loaded.recipe.name == "mine"
    assert loaded.path == tmp_path / "jobs/one.yml"


def test_a_path_is_taken_as_a_path(shipped: Path, tmp_path: Path) -> None:
    """With a slash or the ending of YAML, relative to the working directory, or absolute."""
    (tmp_path / "one.yaml").write_text(RECIPE)
    for path in ("one.yaml", "./one.yaml", str(tmp_path / "one.yaml"), "shipped/../one.yaml"):
        assert load_recipe(path, cwd=tmp_path).recipe.name == "tiny"


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("quikstart", "there is no such recipe", "did you mean `quickstart`?"),
        ("zzz", "there is no such recipe", "available: other, quickstart"),
        ("jobs/quikstart.yaml", "there is no such file", "quickstart.yaml`?"),
        ("jobs", "is a folder", "quickstart"),
        ("./jobs", "is a folder", "quickstart"),
        ("nowhere/x.yaml", "there is no such file", "available"),
        ("/dev/null", "is not a regular file", "YAML"),
        ("", "not the name of a recipe", "`runner jobs`"),
        ("a\0b", "not the name of a recipe", "`runner jobs`"),
        ("~nobody-has-this-name/x.yaml", "home", "write the path out"),
        ("x" * 5000, "there is no such recipe", "available"),
        ("./" + "x" * 5000, "cannot be read: File name too long", ""),
    ],
)
def test_a_recipe_that_is_not_there(shipped: Path, tmp_path: Path, name: str, what: str, remedy: str) -> None:
    """The message names what is near."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/quickstart.yaml").write_text(RECIPE)
    (shipped / "other.yaml").write_text(RECIPE)
    with pytest.raises(UserError) as caught:
        load_recipe(name, cwd=tmp_path)
    assert what in caught.value.what
    assert remedy in (caught.value.remedy or "")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "holds no settings"),
        (b"\0\1\2", "is not a text file"),
        (b"name: caf\xe9\n", "is not UTF-8 text"),
        (RECIPE.encode("utf-16"), "is not a text file"),
        (b"#" * 2_000_000, "larger than 1 MiB"),
        (b"a: &a [x, x]\n" * 800_000, "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_recipe(refuse: Refuse, content: bytes, what: str) -> None:
    """An empty file, a binary, a foreign encoding, a bomb of ten megabytes."""
    error = refuse(text=content)
    assert what in error.what
    assert (error.where or "").startswith("recipe.yaml")


def test_a_byte_order_mark_is_no_mistake(check: Check) -> None:
    """Some editors write one."""
    assert check(text=b"\xef\xbb\xbf" + RECIPE.encode()).recipe.name == "tiny"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path, check: Check, refuse: Refuse) -> None:
    """The system's own words, without a traceback."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "recipe.yaml").chmod(0)
    with pytest.raises(UserError, match="Permission denied"):
        load_recipe("./recipe.yaml", cwd=tmp_path)


# -- what the recipe names -------------------------------------------------------------------------------------------


def test_local_paths_begin_at_the_recipe_and_those_of_the_command_line_at_the_shell(tmp_path: Path) -> None:
    """Each path is relative to where it was written; what comes out is absolute."""
    row = '{"prompt": "a", "completion": "b"}\n'
    for folder in ("recipes", "shell"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text(row)
    (tmp_path / "shell/model").mkdir()
    (tmp_path / "shell/model/config.json").write_text("{}")
    (tmp_path / "shell/model/model.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    (tmp_path / "recipes/r.yaml").write_text(RECIPE.replace("builtin:python-docstrings", "rows.jsonl"))
    loaded = load_recipe(
        "../recipes/r.yaml",
        overrides=["data.train.1.path=rows.jsonl", "model.model_name_or_path=./model"],
        cwd=tmp_path / "shell",
    )
    assert [source.path for source in loaded.recipe.data.train] == [
        str(tmp_path / "recipes/rows.jsonl"),
        str(tmp_path / "shell/rows.jsonl"),
    ]
    assert loaded.settings["data.train.1.path"].value == str(tmp_path / "shell/rows.jsonl")
    assert loaded.local_files == (
        tmp_path / "shell/model",
        tmp_path / "recipes/rows.jsonl",
        tmp_path / "shell/rows.jsonl",
    )


def test_other_files_that_a_recipe_names_are_found_too(tmp_path: Path, check: Check, refuse: Refuse) -> None:
    """A chat template travels with the run."""
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    loaded = check("training.chat_template_path=chat.jinja")
    assert loaded.recipe.training["chat_template_path"] == str(tmp_path / "chat.jinja")
    assert loaded.local_files == (tmp_path / "chat.jinja",)
    assert "there is no file" in refuse("training.chat_template_path=./chat.jinj").what
    assert check("training.chat_template_path=user/tokenizer").local_files == ()


@pytest.mark.parametrize(
    ("path", "what", "remedy"),
    [
        ("rowz.jsonl", "there is no file or folder `rowz.jsonl`", "did you mean `rows.jsonl`?"),
        ("./rows", "there is no file or folder `./rows`", ""),
        ("~/no-such-file-at-all", "there is no file or folder", ""),
        ("/no/such/file", "there is no file or folder", "relative paths begin"),
        ("notes.md", "is not a file that runner reads data from", "convert it to one of: jsonl"),
        ("empty.jsonl", "the file is empty", ""),
        ("folder", "holds no data files", ".jsonl"),
        ("user/data/more", "is not a hub id", "user/name"),
        ("hf://datasets/x", "is a URL", "hub id"),
        ("builtin:python-docstring", "there is no builtin data", "did you mean `builtin:python-docstrings`?"),
        ("builtin:tiny-llama", "`builtin:tiny-llama` is not data", "builtin:python-docstrings"),
    ],
)
def test_data_that_is_not_there(tmp_path: Path, refuse: Refuse, path: str, what: str, remedy: str) -> None:
    """What looks like a file has to be one; nothing is looked for on the network."""
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "folder").mkdir()
    error = refuse(f"data.train.0.path={path}")
    assert settings_of(error) == ["data.train.0.path"]
    assert what in error.what
    assert remedy in (error.remedy or "")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("./model", "holds no config.json"),
        ("./weights.safetensors", "is a file"),
        ("./nothing", "there is no file or folder"),
        ("builtin:python-docstrings", "is not a model"),
        ("builtin:tiny-lama", "there is no builtin model"),
        ("https://example.org/model", "is a URL"),
    ],
)
def test_a_model_that_is_not_there(tmp_path: Path, refuse: Refuse, path: str, what: str) -> None:
    """A model is a folder with its config.json, a hub id, or made on the spot."""
    (tmp_path / "model").mkdir()
    (tmp_path / "weights.safetensors").touch()
    error = refuse(f"model.model_name_or_path={path}")
    assert settings_of(error) == ["model.model_name_or_path"]
    assert what in error.what


def test_hub_ids_are_left_as_they_are(check: Check) -> None:
    """The check is offline: whether they exist is seen where they are downloaded."""
    loaded = check("model.model_name_or_path=meta-llama/Llama-3.2-1B", "data.train.0.path=mlabonne/FineTome-100k")
    assert loaded.recipe.model["model_name_or_path"] == "meta-llama/Llama-3.2-1B"
    assert loaded.recipe.data.train[0].path == "mlabonne/FineTome-100k"
    assert loaded.local_files == ()


def test_the_loss_rules_look_at_the_rows(tmp_path: Path, check: Check, refuse: Refuse) -> None:
    """Plain text has no completions, and a local file says that it is plain text."""
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "chat.jsonl").write_text('{"messages": [{"role": "assistant", "content": "x"}]}\n')
    error = refuse("data.train.0.path=rows.jsonl", "training.completion_only_loss=true")
    assert "plain text, which have no completion" in error.what
    check("data.train.0.path=chat.jsonl", "training.assistant_only_loss=true")
    assert settings_of(refuse("data.train.0.path=chat.jsonl", "training.completion_only_loss=true")) == [
        "training.completion_only_loss"
    ]


# -- what a check costs ----------------------------------------------------------------------------------------------


def test_a_refused_recipe_leaves_nothing_behind(tmp_path: Path, refuse: Refuse) -> None:
    """A check writes nothing at all."""
    refuse("training.output_dir=out", "data.train.0.path=./nothing.jsonl")
    assert everything_below(tmp_path) == ["recipe.yaml"]


def test_a_check_imports_no_training_library(tmp_path: Path) -> None:
    """No torch, no numpy; how quick it is stands in ``benchmarks/startup.py``."""
    (tmp_path / "r.yaml").write_text(RECIPE)
    script = (
        "import sys, pathlib\n"
        "from runner.recipe.loading.load import load_recipe\n"
        "load_recipe('./r.yaml', cwd=pathlib.Path.cwd())\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'numpy', 'pandas', 'click', 'boto3', 'obstore'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_loader_does_not_import_what_checks_schemas() -> None:
    """It is needed when a recipe is checked, and not for `--help`."""
    script = "import sys, runner.recipe.loading.load; sys.exit('jsonschema_rs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 0.5, 1e300, 10**30),
    *("", "x", "./x", "..", "/", "~x/y", "a\nb", "\0", "\ud800", "builtin:", "inputs/x", "x" * 5000),
    *([], [1], [None], ["x"], [[]], [{"path": "."}], {}, {"a": None}, {"a": {"b": [1]}}),
]


def setting_paths(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, part in schema.get("properties", {}).items():
        yield f"{path}{key}"
        yield from setting_paths(part, f"{path}{key}.")
        yield from setting_paths(part.get("items", {}), f"{path}{key}.0.")


@pytest.mark.parametrize("section", recipe_schema()["properties"])
def test_any_value_anywhere_is_taken_or_refused(tmp_path: Path, section: str) -> None:
    """Whatever stands at whichever setting: a recipe that is JSON, or a `UserError`."""
    text = RECIPE.replace("max_steps: 5", "eval_strategy: epoch") + "adapter: {r: 4}\n"
    text = text.replace("training:", "  eval: {from_train: 0.1}\ntraining:")
    document = parse_document(text, name="r.yaml")
    for path in setting_paths({"properties": {section: recipe_schema()["properties"][section]}}):
        for value in VALUES:
            try:
                loaded = check_recipe(
                    document, tmp_path / "r.yaml", shown_as="r.yaml", flags={path: value}, cwd=tmp_path
                )
            except UserError:
                continue
            recipe = loaded.recipe
            assert Recipe.from_mapping(json.loads(json.dumps(recipe.to_mapping(), allow_nan=False))) == recipe
