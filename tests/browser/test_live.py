"""The live page in Chromium, with the real engine: it computes the golden logits and follows the pointer."""

from pathlib import Path

import numpy as np
import pytest
from browser_support import DESKTOP, INSTALL, PHONE, chromium, missing, show
from support import copy_artifact, frozen, rewrite

pytestmark = pytest.mark.browser

pytest.importorskip("selenium", reason="needs the extra 'browser': make browser")
pytest.importorskip("jinja2", reason="needs the extra 'report'")
if missing():
    pytest.skip(f"{' and '.join(missing())} not installed: {INSTALL}", allow_module_level=True)

ENGINE = Path(__file__).parents[1] / "portability" / "node_modules" / "onnxruntime-web"
if not (ENGINE / "package.json").is_file():
    pytest.skip("onnxruntime-web is not installed: make browser, where there is npm", allow_module_level=True)

from ds2ta_deploy.artifact import GOLDEN_VALUES, Artifact
from ds2ta_deploy.datasets import npz_bytes
from ds2ta_deploy.exporting import export
from ds2ta_deploy.pages.live import build_live, read_engine

#: Seconds that the engine may take to start; a guard, not a measurement.
PATIENCE = 120


@pytest.fixture(scope="module")
def driver():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def artifact(small_graph, small_inputs, tmp_path_factory):
    return export(frozen(small_graph), "onnx", tmp_path_factory.mktemp("live") / "out", inputs=small_inputs)


@pytest.fixture(scope="module")
def page(artifact):
    path = artifact.path.with_name("live.html")
    path.write_bytes(build_live(artifact, read_engine(ENGINE)))
    return path


def verdict(driver):
    """Wait until the page has checked itself; return the tone and what it says."""
    from selenium.webdriver.support.wait import WebDriverWait

    found = WebDriverWait(driver, PATIENCE).until(
        lambda browser: browser.execute_script(
            "const v = document.getElementById('verdict'); return v.classList.contains('doubtful') ? null : [v.className, v.textContent]"
        )
    )
    return found[0].split()[-1], found[1]


def settled(driver, logits):
    """Wait until these logits are shown."""
    from selenium.webdriver.support.wait import WebDriverWait

    script = "return [...document.querySelectorAll('#logits span')].map(span => Number(span.textContent.replaceAll(',', '')))"
    WebDriverWait(driver, PATIENCE).until(lambda browser: browser.execute_script(script) == [int(logit) for logit in logits])


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)])
def test_it_checks_itself_and_shows_every_layer_and_head(driver, page, small_graph, small_inputs, size, dark):
    show(driver, page, size, dark=dark)
    assert verdict(driver) == ("good", "Checked in this browser: 0 of 15 golden logits differ.")
    logits = small_graph.execute(small_inputs)
    settled(driver, logits[0])
    layers = [name for name in small_graph.observable if name.endswith(".spikes")]
    assert driver.execute_script("return [...document.querySelectorAll('#layers figure')].map(f => f.dataset.key)") == layers
    assert driver.execute_script("return document.querySelectorAll('#maps figure').length") == 2
    assert driver.get_log("browser") == []
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_another_sample_and_an_empty_paper(driver, page, small_graph, small_inputs):
    from selenium.webdriver.common.by import By

    show(driver, page)
    verdict(driver)
    driver.find_elements(By.CSS_SELECTOR, "#samples button")[3].click()
    settled(driver, small_graph.execute(small_inputs)[3])
    driver.find_element(By.ID, "clear").click()
    settled(driver, small_graph.execute(np.zeros((1, 7, 5, 2), np.uint8))[0])


def test_the_spikes_and_the_attention_are_the_graphs(driver, page, small_graph, small_inputs):
    show(driver, page)
    verdict(driver)
    settled(driver, small_graph.execute(small_inputs)[0])
    trace = {}
    small_graph.execute(small_inputs[:1], trace.__setitem__)
    for step in (0, 2, 3):
        script = "const s = document.getElementById('step'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))"
        driver.execute_script(script, step)
        rates = driver.execute_script(
            "const figures = [...document.querySelectorAll('#layers figure')];"
            "return Object.fromEntries(figures.map(f => [f.dataset.key, f.querySelector('canvas').ariaLabel]))"
        )
        for name, label in rates.items():
            spikes = trace[name][step]
            assert label.startswith(f"{int(spikes.sum())} of {spikes.size} neurons fire")
        shown = driver.execute_script("return [...document.querySelectorAll('#maps canvas')].map(canvas => canvas.ariaLabel)")
        heats = trace["blocks.0.attn.denoised"][step, 0].sum(axis=1)
        assert shown == [f"strongest at row {place // 3}, column {place % 3}" for place in heats.argmax(axis=1)]


def test_what_is_drawn_is_run(driver, page, small_graph):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    show(driver, page)
    verdict(driver)
    driver.find_element(By.ID, "clear").click()
    paper = driver.find_element(By.ID, "paper")
    ActionChains(driver).move_to_element(paper).click_and_hold().move_by_offset(60, 40).release().perform()
    pixels = driver.execute_script(
        "const c = document.getElementById('paper'); return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    drawn = np.array(pixels, np.uint8).reshape(7, 5, 4)
    assert drawn[..., 0].any()
    image = np.stack([drawn[..., 0], drawn[..., 2]], axis=-1)[None]  # two channels are shown as red and blue
    settled(driver, small_graph.execute(image)[0])


def test_other_logits_are_not_believed(driver, artifact, tmp_path):
    copy = copy_artifact(artifact.path, tmp_path / "copy")
    logits = np.load(artifact.path / GOLDEN_VALUES)["head.logits"].copy()
    logits[2, 1] += 1
    rewrite(copy, GOLDEN_VALUES, npz_bytes({"head.logits": logits}), rehash=True)
    (tmp_path / "live.html").write_bytes(build_live(Artifact.open(copy), read_engine(ENGINE)))
    show(driver, tmp_path / "live.html")
    tone, said = verdict(driver)
    assert tone == "bad"
    assert said.startswith("1 of 15 golden logits differ")
