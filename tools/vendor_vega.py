"""Renew the scripts that draw the plots of `runner report`: Vega, Vega-Lite and Vega-Embed, with their licences.

    npm install --prefix FOLDER vega@6 vega-lite@6 vega-embed@7
    python tools/vendor_vega.py FOLDER/node_modules

copies the minified files that npm has verified into ``src/runner/reports/html/vendored/``, writes their versions and
SHA-256 digests to ``scripts.json`` there, and the licences of all that is bundled in them to ``LICENSES.txt``. A test
holds the files against these digests.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

PACKAGES = ("vega", "vega-lite", "vega-embed")
"""In the order in which a page loads them."""
BUNDLED = (
    "d3-",
    "vega",
    "topojson-",
    "internmap",
    "delaunator",
    "robust-predicates",
    "fast-json-patch",
    "semver",
    "json-",
)
"""How the names of the packages begin that are part of the minified files."""
FOLDER = Path(__file__).parent.parent / "src/runner/reports/html/vendored"


def main() -> None:
    """Copy the files and write down what they are."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    modules = Path(sys.argv[1])
    scripts = []
    for name in PACKAGES:
        script = modules / name / "build" / f"{name}.min.js"
        package = json.loads((modules / name / "package.json").read_text())
        shutil.copyfile(script, FOLDER / script.name)
        scripts.append(
            {
                "name": name,
                "version": package["version"],
                "license": package["license"],
                "file": script.name,
                "sha256": hashlib.sha256(script.read_bytes()).hexdigest(),
            }
        )
    licences = []
    for folder in sorted(modules.iterdir()):
        if folder.name.startswith(BUNDLED):
            version = json.loads((folder / "package.json").read_text())["version"]
            texts = [file.read_text().strip() for file in sorted(folder.glob("LICENSE*"))]
            licences.append("\n\n".join([f"==== {folder.name} {version}", *texts]))
    (FOLDER / "LICENSES.txt").write_text("\n\n".join(licences).replace("\r\n", "\n") + "\n")
    (FOLDER / "scripts.json").write_text(json.dumps(scripts, indent=2) + "\n")


if __name__ == "__main__":
    main()
