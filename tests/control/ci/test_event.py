"""Who may launch, and what a change is compared with, as each system says it."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.control.ci.comment import read_comment
from runner.control.ci.event import Event, read_event
from runner.errors import UserError

PULL = {
    "number": 7,
    "head": {"sha": "c" * 40, "repo": {"full_name": "acme/models"}},
    "base": {"sha": "b" * 40, "repo": {"full_name": "acme/models"}},
}


def github(folder: Path, name: str, payload: Any) -> Event:
    path = folder / "event.json"
    path.write_text(json.dumps(payload))
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(path)}
    return read_event({**variables, "GITHUB_REPOSITORY": "acme/models"})


def comment(folder: Path, body: str, association: str = "MEMBER", *, on_pull: bool = True) -> Event:
    issue = {"number": 7, **({"pull_request": {"url": "…"}} if on_pull else {})}
    payload = {"action": "created", "issue": issue, "comment": {"body": body, "author_association": association}}
    return github(folder, "issue_comment", payload)


def test_a_change_is_compared_with_what_the_system_names(tmp_path: Path) -> None:
    assert github(tmp_path, "push", {"before": "a" * 40}).before == "a" * 40
    assert github(tmp_path, "push", {"before": "0" * 40}).before is None
    event = github(tmp_path, "pull_request", {"number": 7, "pull_request": PULL})
    assert (event.before, event.pull_request, event.distrusted) == ("b" * 40, 7, None)
    gitlab = read_event(
        {"GITLAB_CI": "true", "CI_COMMIT_BEFORE_SHA": "0" * 40, "CI_MERGE_REQUEST_DIFF_BASE_SHA": "d" * 40}
    )
    assert gitlab.before == "d" * 40
    jenkins = read_event({"JENKINS_URL": "x", "GIT_PREVIOUS_SUCCESSFUL_COMMIT": "e" * 40, "CHANGE_ID": "4"})
    assert (jenkins.before, jenkins.pull_request, jenkins.distrusted) == ("e" * 40, 4, None)
    assert read_event({}) == Event()


def test_what_does_not_say_where_it_is_from_is_not_trusted(tmp_path: Path) -> None:
    assert github(tmp_path, "pull_request", {}).distrusted
    assert github(tmp_path, "pull_request", {"pull_request": {**PULL, "head": {"repo": None}}}).distrusted
    fork = {"workflow_run": {"head_repository": {"full_name": "mallory/models"}}}
    assert github(tmp_path, "workflow_run", fork).distrusted
    assert github(tmp_path, "workflow_run", {}).distrusted
    own = {"workflow_run": {"head_repository": {"full_name": "acme/models"}}}
    assert github(tmp_path, "workflow_run", own).distrusted is None
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read_event({"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_EVENT_PATH": str(path)})


def test_a_comment_of_a_member_launches_the_commit_of_the_pull_request(tmp_path: Path) -> None:
    text = "/runner launch jobs/x.yaml --gpu L4 --set 'training.run_name=a b' --spot --max-cost=5\nthanks"
    asked = read_comment(comment(tmp_path, text), PULL)
    assert asked is not None
    assert (asked.recipe, asked.commit, asked.pull_request) == ("jobs/x.yaml", "c" * 40, 7)
    assert asked.options == ("--gpu", "L4", "--set", "training.run_name=a b", "--spot", "--max-cost=5")
    issue = read_comment(comment(tmp_path, "/runner launch jobs/x.yaml", on_pull=False), None)
    assert issue is not None
    assert (issue.commit, issue.pull_request) == (None, None)


@pytest.mark.parametrize(
    "body", ["", "looks good", "/runner", "/runner launched it", "see\n/runner launch x", "/run launch x"]
)
def test_any_other_comment_asks_for_nothing(tmp_path: Path, body: str) -> None:
    assert read_comment(comment(tmp_path, body, "NONE"), PULL) is None


@pytest.mark.parametrize(
    "association", ["NONE", "CONTRIBUTOR", "FIRST_TIME_CONTRIBUTOR", "FIRST_TIMER", "MANNEQUIN", ""]
)
def test_a_stranger_launches_nothing(tmp_path: Path, association: str) -> None:
    with pytest.raises(UserError, match="no member or collaborator"):
        read_comment(comment(tmp_path, "/runner launch jobs/x.yaml", association), PULL)


@pytest.mark.parametrize(
    ("words", "pull", "message"),
    [
        ("jobs/x.yaml", {**PULL, "head": {"repo": {"full_name": "mallory/models"}}}, "from a fork"),
        ("jobs/x.yaml", {**PULL, "number": 8}, "not described"),
        ("jobs/x.yaml", None, "not described"),
        ("", PULL, "names no recipe"),
        ("--gpu L4", PULL, "names no recipe"),
        ("../x.yaml", PULL, "not in the repository"),
        ("/etc/x.yaml", PULL, "not in the repository"),
        ("jobs/x.yaml --secret TOKEN", PULL, "not taken from a comment"),
        ("jobs/x.yaml --store s3://mine", PULL, "not taken from a comment"),
        ("jobs/x.yaml --env-file .env", PULL, "not taken from a comment"),
        ("jobs/x.yaml --image mine", PULL, "not taken from a comment"),
        ("jobs/x.yaml other", PULL, "not taken from a comment"),
        ("jobs/x.yaml --gpu", PULL, "needs a value"),
        ("jobs/x.yaml 'open", PULL, "cannot be read"),
    ],
)
def test_what_a_comment_may_not_ask_for(tmp_path: Path, words: str, pull: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_comment(comment(tmp_path, f"/runner launch {words}"), pull)


def test_an_edited_comment_asks_for_nothing(tmp_path: Path) -> None:
    payload = {"action": "edited", "issue": {"number": 7, "pull_request": {}}}
    payload["comment"] = {"body": "/runner launch x", "author_association": "OWNER"}
    assert read_comment(github(tmp_path, "issue_comment", payload), PULL) is None
