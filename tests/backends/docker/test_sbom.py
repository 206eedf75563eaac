"""The list of what is in an image is the document that it says it is."""

import importlib.metadata
import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from runner.backends.docker.image import Image
from runner.backends.docker.sbom import sbom


def test_it_is_valid_by_the_schema_of_cyclonedx() -> None:
    """Strictly: nothing in it that the schema does not name. Versions as Debian writes them, too."""
    image = Image(name="runner:cpu", id="sha256:" + "0" * 64, digest=None, size_bytes=1)
    packages = {
        "pypi": {one.name.lower(): one.version for one in importlib.metadata.distributions()},
        "deb": [["tini", "0.19.0-1", "amd64"], ["libstdc++6", "12.2.0-14+deb12u1", "amd64"]],
    }
    document = sbom(image, packages)
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    assert validator.validate_str(json.dumps(document)) is None
    assert validator.validate_str(json.dumps({**document, "components": [{"type": "library"}]})) is not None
