"""A recipe with a secret is refused before anything else is said about it, and no message shows the secret."""

import pytest

from support.recipes import Check, Refuse

SECRET = "hf_abcdefghijklmnopqrstuvwxyz012345"
PASSWORD = "correct-horse-battery"


@pytest.mark.parametrize(
    ("override", "where", "name"),
    [
        (f"sky.envs.HF_TOKEN={SECRET}", "sky.envs.HF_TOKEN", "HF_TOKEN"),
        (f"sky.envs.DB_PASSWORD={PASSWORD}", "sky.envs.DB_PASSWORD", "DB_PASSWORD"),
        (f"sky.envs.HARMLESS={SECRET}", "sky.envs.HARMLESS", "HARMLESS"),
        (f"sky.secrets={{WANDB_API_KEY: {PASSWORD}}}", "sky.secrets", "WANDB_API_KEY"),
        (f"sky.setup=export WANDB_API_KEY={PASSWORD} && pip install x", "sky.setup", "WANDB_API_KEY"),
        (f"sky.setup=pip install git+https://me:{PASSWORD}@host/x", "sky.setup", "NAME"),
        (f"training.hub_token={PASSWORD}", "training.hub_token", "HF_TOKEN"),
        (f"training.token={PASSWORD}", "training.token", "HF_TOKEN"),
        (f"model.model_name_or_path={SECRET}", "model.model_name_or_path", "HF_TOKEN"),
        (f"sky.setup=curl -H 'Authorization: Bearer {PASSWORD}' https://host", "sky.setup", "NAME"),
        (f"sky.setup=curl -u me:{PASSWORD} https://host", "sky.setup", "NAME"),
        (f"sky.setup=hf auth login --token {PASSWORD}", "sky.setup", "token"),
        (f"sky.setup=x --api-key={PASSWORD}", "sky.setup", "API_KEY"),
        ("sky.setup=wandb login 0123456789abcdef0123456789abcdef", "sky.setup", "NAME"),
        (f"sky.setup=docker login -u me -p {PASSWORD} host", "sky.setup", "NAME"),
        (f"sky.file_mounts={{/x: 'https://host/x?X-Amz-Signature={PASSWORD}'}}", "sky.file_mounts", "NAME"),
        (f"sky.secrets={{ANY: {PASSWORD}}}", "sky.secrets", "ANY"),
        (f"sky.secrets={{ANY: [{PASSWORD}]}}", "sky.secrets", "ANY"),
        ("sky.secrets={ANY: 12345678}", "sky.secrets", "ANY"),
        ("sky.envs={DB_PASSWORD: 12345678}", "sky.envs", "DB_PASSWORD"),
        (f"sky.envs={{MYSQL_PWD: {PASSWORD}}}", "sky.envs", "MYSQL_PWD"),
        (f"sky.envs={{x-api-key: {PASSWORD}}}", "sky.envs", "x-api-key"),
        (f"resources.image_id=docker:me:{PASSWORD}@host/image", "resources.image_id", "SKYPILOT_DOCKER_PASSWORD"),
        (f"sky.setup=curl https://hooks.slack.com/services/T0/B0/{PASSWORD}", "sky.setup", "NAME"),
        (f"training.nonsense=[1, {{a: {SECRET}}}]", "training.nonsense", "HF_TOKEN"),
        (f"evaluate.prompts=[one, {SECRET}]", "evaluate.prompts", "HF_TOKEN"),
    ],
)
def test_a_secret_is_refused_and_not_shown(refuse: Refuse, override: str, where: str, name: str) -> None:
    error = refuse(override)
    assert where in str(error)
    assert "must not contain a secret" in str(error)
    assert f"`--secret {name}`" in str(error)
    assert SECRET not in str(error)
    assert PASSWORD not in str(error)
    assert "12345678" not in str(error)


@pytest.mark.parametrize(
    "override",
    [
        f"notify=[{{secret: 'https://hooks.example.com/{PASSWORD}'}}]",
        f"notify=[{{secret: {PASSWORD}}}]",
        f"notify=[{{secret: HOOK, url: 'http://host/{PASSWORD}'}}]",
        f"notify=https://discord.com/api/webhooks/1/{PASSWORD}",
    ],
)
def test_a_webhooks_url_is_refused_and_not_shown(refuse: Refuse, override: str) -> None:
    error = refuse(override)
    assert str(error).startswith("--set notify=…: ")
    assert "a recipe must not contain a secret" in str(error)
    assert "`notify: [{secret: SLACK_WEBHOOK}]`" in str(error)
    assert PASSWORD not in str(error)


def test_a_secret_hides_what_else_is_wrong(refuse: Refuse) -> None:
    """Another message might show the value."""
    error = refuse("training.learnin_rate=1", f"training.hub_token={PASSWORD}")
    assert "learnin_rate" not in str(error)


@pytest.mark.parametrize(
    "override",
    [
        "sky.envs={HF_HUB_ENABLE_HF_TRANSFER: 1, TOKENIZERS_PARALLELISM: 'false'}",
        "sky.envs={HF_TOKEN: $HF_TOKEN}",
        "sky.secrets={HF_TOKEN: null}",
        'sky.setup=export HF_TOKEN=$MY_TOKEN; test -n "$API_KEY"; echo MAX_TOKENS=5 API_KEY=',
        "sky.setup=docker run -u 1000:1000 --user 1:1 x --token-limit 5 --password-stdin; x login -p $P; y -p 80:80",
        'sky.setup=hf auth login --token $HF_TOKEN --token "$X"; wandb login $K',
        'sky.setup=curl -u "me:$P" -H "Authorization:Bearer $T"',
        "sky.envs={PWD: /work, OLDPWD: /old}",
        "training.pad_token=<pad>",
        "training.eos_token=<|im_end|>",
    ],
)
def test_what_is_no_secret_is_accepted(check: Check, override: str) -> None:
    key = override.partition("=")[0].split(".")
    assert key[1] in getattr(check(override).recipe, key[0])


def test_a_prompt_may_ask_for_a_password(check: Check) -> None:
    check("evaluate={before_and_after: true, prompts: ['What is a password=?']}", "data.eval.from_train=1")


@pytest.mark.parametrize("override", ["sky.envs.RUNNER_RUN=x", "sky.secrets={RUNNER_SECRET_NAMES: null}"])
def test_runner_s_own_variables_cannot_be_set(refuse: Refuse, override: str) -> None:
    assert "variables that begin with RUNNER_ are runner's own" in str(refuse(override))
