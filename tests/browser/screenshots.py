"""Takes the pictures of a page that README shows, of the bundled network: python browser/screenshots.py FOLDER, in tests/."""

import base64
import sys
import tempfile
from pathlib import Path

from browser_support import DESKTOP, PHONE, chromium, show
from selenium.webdriver.support.wait import WebDriverWait

from ds2ta_deploy.cli.main import group, run

ENGINE = Path(__file__).parents[1] / "portability" / "node_modules" / "onnxruntime-web"
EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"
CHECKPOINT, DATA = EXAMPLE / "ds2ta-2-64.safetensors", EXAMPLE / "ds2ta-2-64.npz"

#: File -> the page, what of it is looked at, the window, and whether it is night.
VIEWS = (
    ("report-desktop.png", "page.html", "", DESKTOP, False),
    ("report-attention.png", "page.html", "attention", (1280, 1040), False),
    ("report-phone-dark.png", "page.html", "", PHONE, True),
    ("report-live.png", "page.live.html", "", (1280, 1120), False),
)

#: True once a live page has run what it shows; other pages are ready at once.
READY = "const took = document.getElementById('took'); return took === null || took.textContent !== ''"


def main(folder: Path) -> None:
    """Export, write the page, take the pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        out, page = Path(temporary) / "demo", Path(temporary) / "page.html"
        options = ["--checkpoint", CHECKPOINT, "--data", DATA, "--sample", "3", "--live", "--web", ENGINE, "-o", page]
        for arguments in (["export", CHECKPOINT, "-o", out, "--inputs", DATA], ["report", out, "--html", *options]):
            if run(group, list(map(str, arguments)), "ds2ta"):
                sys.exit("the page could not be made")
        with chromium() as driver:
            for name, file, anchor, size, dark in VIEWS:
                show(driver, page.with_name(file), size, dark=dark)
                WebDriverWait(driver, 120).until(lambda browser: browser.execute_script(READY))
                driver.execute_script("document.getElementById(arguments[0])?.scrollIntoView()", anchor)
                (folder / name).write_bytes(base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", {})["data"]))
                print(folder / name, (folder / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
