"""What docs/neighbours.md says of Netron: it opens an exported file and shows the populations, by their kinds and by their names."""

import socket

import pytest
from browser_support import INSTALL, chromium, missing
from support import frozen

pytestmark = pytest.mark.browser

pytest.importorskip("selenium", reason="needs the extra 'browser': make browser")
netron = pytest.importorskip("netron", reason="needs the extra 'browser': make browser")
if missing():
    pytest.skip(f"{' and '.join(missing())} not installed: {INSTALL}", allow_module_level=True)

import onnx

from ds2ta_deploy.exporting import export

#: Seconds that Netron may take to read a file and draw it; a guard, not a measurement.
PATIENCE = 60

#: What is written in the drawing.
WRITTEN = "return [...document.querySelectorAll('svg text')].map(element => element.textContent);"


def all_shown(names, driver):
    """Whether all names stand in the drawing; of a long one there is the beginning and the end."""
    written = [text.split("\N{HORIZONTAL ELLIPSIS}") for text in driver.execute_script(WRITTEN)]
    return all(
        any(name == "".join(ends) or (len(ends) == 2 and name.startswith(ends[0]) and name.endswith(ends[1])) for ends in written)
        for name in names
    )


@pytest.fixture(scope="module")
def model(small_graph, small_inputs, tmp_path_factory):
    return export(frozen(small_graph), "onnx", tmp_path_factory.mktemp("netron") / "out", inputs=small_inputs).path / "model.onnx"


@pytest.fixture
def opened(model):
    """Netron with the exported file; it asks once whether it may count its users."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    netron.start(str(model), address=("127.0.0.1", port), browse=False)
    try:
        with chromium() as driver:
            driver.get(f"http://127.0.0.1:{port}")
            wait = WebDriverWait(driver, PATIENCE)
            wait.until(lambda browser: browser.find_element(By.ID, "message-button").is_displayed() or browser.execute_script(WRITTEN))
            if driver.find_element(By.ID, "message-button").is_displayed():
                driver.find_element(By.ID, "message-button").click()
            wait.until(lambda browser: browser.execute_script(WRITTEN))
            yield driver
    finally:
        netron.stop(("127.0.0.1", port))


def test_populations_are_shown_by_kind_and_by_name(opened, model):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    graph = onnx.load(model).graph
    kinds, names = {node.op_type for node in graph.node}, {node.name for node in graph.node}
    assert len(kinds & {"SpikingLinear", "TemporalSpikingLinear", "SpikingConv2d", "SpikingAttention"}) >= 2
    assert all_shown(kinds, opened)
    assert not all_shown(names, opened)
    ActionChains(opened).key_down(Keys.CONTROL).send_keys("u").key_up(Keys.CONTROL).perform()  # Show Names
    WebDriverWait(opened, PATIENCE).until(lambda browser: all_shown(names, browser))
    assert all_shown({name for node in graph.node for name in node.output if name}, opened)
