"""A page as a reader meets it: in Chromium, on a desk and on a phone, by day and by night, on paper."""

import base64

import pytest
from browser_support import DESKTOP, INSTALL, PAPER, PHONE, chromium, missing, show
from page_support import hostile
from support import frozen

pytestmark = pytest.mark.browser

pytest.importorskip("selenium", reason="needs the extra 'browser': make browser")
pytest.importorskip("matplotlib", reason="needs the extra 'report'")
if missing():
    pytest.skip(f"{' and '.join(missing())} not installed: {INSTALL}", allow_module_level=True)

from ds2ta_deploy.exporting import export
from ds2ta_deploy.pages.page import build_page

SECTIONS = ["agreement", "activity", "attention", "denoisers", "operations", "bounds", "integers", "memory", "chips", "origin"]

#: Every text that is shown with the contrast to what lies behind it (WCAG 2, relative luminance), those below 4.5 only.
FAINT = """
const channel = value => { value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const behind = element => {
  for (; element; element = element.parentElement) {
    const colour = parse(getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const faint = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; node = walker.nextNode();) {
  const element = node.parentElement;
  if (!node.data.trim() || !element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  const text = light(parse(element instanceof SVGElement ? style.fill : style.color)), back = light(behind(element));
  const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
  if (contrast < 4.5) faint.push(`${node.data.trim().slice(0, 30)}: ${contrast.toFixed(2)}`);
}
return [...new Set(faint)];
"""

#: What reaches beyond the window and cannot be scrolled to inside its own frame.
OUTSIDE = """
return [...document.body.querySelectorAll('*')]
  .filter(element => !element.closest('.scroll') && !element.closest('svg') && !element.closest('.skip'))
  .filter(element => element.getBoundingClientRect().right > innerWidth + 1 || element.getBoundingClientRect().left < -1)
  .map(element => `${element.tagName}.${element.className}`);
"""


@pytest.fixture(scope="module")
def driver():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(small_graph, small_inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    (folder / "page.html").write_bytes(build_page(export(frozen(small_graph), "onnx", folder / "out", inputs=small_inputs)))
    return folder / "page.html"


@pytest.fixture(scope="module")
def hostile_page(small_graph, small_inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "page.html").write_bytes(build_page(export(hostile(frozen(small_graph)), "onnx", folder / "out", inputs=small_inputs)))
    return folder / "page.html"


def looks(function):
    return pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (DESKTOP, True), (PHONE, False), (PHONE, True)])(function)


@looks
def test_nothing_complains_and_nothing_is_fetched(driver, page, size, dark):
    show(driver, page, size, dark=dark)
    assert driver.get_log("browser") == []
    assert driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)") == []
    assert driver.execute_script("return document.scripts.length") == 0


@looks
def test_every_section_and_picture_is_to_be_seen(driver, page, size, dark):
    show(driver, page, size, dark=dark)
    found = driver.execute_script("return [...document.querySelectorAll('section')].map(s => [s.id, s.getBoundingClientRect().height])")
    assert [name for name, _ in found] == SECTIONS
    assert all(height > 100 for _, height in found)
    drawings = driver.execute_script(
        "return [...document.querySelectorAll('.drawing svg')].map(svg => [svg.getBoundingClientRect().width, svg.getBBox().width])"
    )
    assert len(drawings) > 30
    assert all(wide > 100 and drawn > 100 for wide, drawn in drawings)


@looks
def test_nothing_reaches_out_of_the_window(driver, page, size, dark):
    show(driver, page, size, dark=dark)
    driver.execute_script("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert driver.execute_script(OUTSIDE) == []
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@looks
def test_every_text_can_be_read(driver, page, size, dark):
    show(driver, page, size, dark=dark)
    driver.execute_script("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert driver.execute_script(FAINT) == []


def test_what_cannot_be_read_would_be_found(driver, page):
    show(driver, page)
    driver.execute_script("document.documentElement.style.setProperty('--muted', '#a0a0a0')")
    faint = driver.execute_script(FAINT)
    assert any(text.startswith("never fired") for text in faint)  # a table's head
    assert any(text.startswith("neurons") for text in faint)  # a picture's axis


def test_day_and_night_differ_in_pictures_too(driver, page):
    colours = []
    for dark in (False, True):
        show(driver, page, dark=dark)
        script = "return ['body', '.drawing text'].map(name => getComputedStyle(document.querySelector(name)))"
        colours.append(driver.execute_script(f"{script}.map(style => style.backgroundColor + style.fill)"))
    assert all(day != night for day, night in zip(*colours, strict=True))


def test_links_lead_to_their_sections(driver, page):
    from selenium.webdriver.common.by import By

    show(driver, page)
    for link in driver.find_elements(By.CSS_SELECTOR, "nav a"):
        name = link.get_attribute("href").rpartition("#")[2]
        driver.execute_script("scrollTo(0, 0)")
        link.click()
        top = driver.execute_script("return document.getElementById(arguments[0]).getBoundingClientRect().top", name)
        at_end = driver.execute_script("return scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        assert driver.current_url.endswith(f"#{name}")
        assert at_end or 0 <= top < 60


def test_numbers_open_by_a_click_and_by_a_key(driver, page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    show(driver, page, PHONE)
    first, second = driver.find_elements(By.CSS_SELECTOR, "figure summary")[:2]
    first.click()
    second.send_keys(Keys.ENTER)
    assert driver.execute_script("return [...document.querySelectorAll('figure details')].slice(0, 3).map(d => d.open)") == [
        True,
        True,
        False,
    ]
    assert driver.find_element(By.CSS_SELECTOR, "figure details td").is_displayed()


def test_the_first_window_holds_the_verdict_and_all_figures(driver, page):
    show(driver, page)
    script = "return [...document.querySelectorAll('.verdict, .card')].map(e => e.getBoundingClientRect().bottom < innerHeight)"
    shown = driver.execute_script(script)
    assert len(shown) == 6
    assert all(shown)
    assert driver.execute_script("return [...document.querySelectorAll('.card *')].every(e => e.scrollWidth <= e.clientWidth)")


def test_it_can_be_printed(driver, page):
    show(driver, page, PAPER, dark=True)
    paper = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert paper.startswith(b"%PDF")
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    assert driver.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert driver.execute_script(FAINT) == []
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_do_nothing(driver, hostile_page):
    show(driver, hostile_page, PHONE)
    assert driver.get_log("browser") == []
    assert driver.title != "owned"
    assert driver.execute_script("return document.scripts.length + document.images.length") == 0
    assert driver.execute_script("return document.body.innerText.includes('<script>')")
    driver.execute_script("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert driver.execute_script(OUTSIDE) == []
