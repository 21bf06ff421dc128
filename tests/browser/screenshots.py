"""Takes the pictures of a page that README shows, of the bundled network: python browser/screenshots.py FOLDER, in tests/."""

import base64
import sys
import tempfile
from pathlib import Path

from browser_support import DESKTOP, PHONE, chromium, show

from ds2ta_deploy.cli.main import group, run

EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"
CHECKPOINT, DATA = EXAMPLE / "ds2ta-2-64.safetensors", EXAMPLE / "ds2ta-2-64.npz"

#: File -> what is looked at, how, and how many pixels a CSS pixel has.
VIEWS = (
    ("report-desktop.png", "", DESKTOP, False, 1),
    ("report-attention.png", "attention", (1280, 1040), False, 1),
    ("report-phone-dark.png", "", PHONE, True, 1),
)


def main(folder: Path) -> None:
    """Export, write the page, take the pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        out, page = Path(temporary) / "demo", Path(temporary) / "page.html"
        options = ["--checkpoint", CHECKPOINT, "--data", DATA, "--sample", "3", "-o", page]
        for arguments in (["export", CHECKPOINT, "-o", out, "--inputs", DATA], ["report", out, "--html", *options]):
            if run(group, list(map(str, arguments)), "ds2ta"):
                sys.exit("the page could not be made")
        with chromium() as driver:
            for name, anchor, size, dark, scale in VIEWS:
                show(driver, page, size, dark=dark, scale=scale)
                driver.execute_script("document.getElementById(arguments[0])?.scrollIntoView()", anchor)
                (folder / name).write_bytes(base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", {})["data"]))
                print(folder / name, (folder / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
