"""An image's name stands in records and tasks, and so holds no login."""

import pytest

from runner.backends.base import check_image
from runner.errors import UserError

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize("name", ["me:secret@host/x:1", f"me:secret@host/x@{DIGEST}", "https://me:secret@host/x"])
def test_a_login_in_an_images_name_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(UserError) as caught:
        check_image(name)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("name", ["runner:cuda", "ghcr.io/me/x:1", f"host:5000/me/x@{DIGEST}", "none"])
def test_other_names_are_accepted(name: str) -> None:
    check_image(name)
