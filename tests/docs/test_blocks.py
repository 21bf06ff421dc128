"""Every fenced block of every page is executed, compared or tested elsewhere, and says so; see block_marks.py."""

import json
import re
import shlex

import pytest
from block_folder import MAKERS, Shelf, names_for
from block_marks import KINDS, PAGES, ROOT, blocks_of, problems_of, read
from block_runs import PageRun, differences, exchanges, extras, missing

from ds2ta_deploy.runtimes.table import RUNTIMES

RUN = [page for page in PAGES if any(block.kind in {"run", "session", "prints"} for block in blocks_of(page))]


# --- the pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_how_it_is_kept_true(page):
    assert problems_of((ROOT / page).read_text(encoding="utf-8"), page) == []


@pytest.mark.parametrize("page", RUN)
def test_what_blocks_need_there_is(page):
    for block in blocks_of(page):
        assert set(block.needs) <= {*RUNTIMES, *extras()}


def test_what_must_be_installed_can_be():
    """What cannot be run without a network: the extras, files and versions that the page names are those of the project."""
    commands = [command for page in PAGES for block in blocks_of(page) if block.language == "sh" for command in block.commands()]
    installs = [shlex.split(command, comments=True) for command in commands if re.match(r"(pip|npm) install", command)]
    assert len(installs) > 4
    engine = json.loads((ROOT / "tests" / "portability" / "package.json").read_text())["dependencies"]["onnxruntime-web"]
    required = {re.match(r"[\w-]+", each)[0] for name in extras() for each in extras()[name]} | {"onnx", "onnxruntime"}
    for program, _, *words in installs:
        if "-c" in words:
            assert (ROOT / words.pop(words.index("-c") + 1)).is_file()
        for word in words:
            if program == "npm":
                assert word == f"onnxruntime-web@{engine}"
            elif asked := re.fullmatch(r"(?:\.|ds2ta-deploy)\[([a-z,]+)\]", word):
                assert set(asked[1].split(",")) <= set(extras())
            elif word not in {"-e", "-c"}:
                assert word in required


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_page_does_and_prints_what_it_says(page, shelf, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    blocks = blocks_of(page)
    for need in sorted({need for block in blocks for need in block.needs}):
        if reason := missing(need):
            pytest.skip(reason)
    folder = tmp_path / "page"
    shelf.fill(folder, blocks)
    run = PageRun(folder)
    for block in blocks:
        run.take(block)


# --- marks -----------------------------------------------------------------------------------------------------------


def page_with(mark, language="sh", text="true\n"):
    return f"# A page\n\n{mark}\n```{language}\n{text}```\n"


@pytest.mark.parametrize(
    ("mark", "language", "text"),
    [
        ("<!-- run -->", "sh", "true\n"),
        ('<!-- run: lava, report; "1" for "2", "" for "3" -->', "python", "print(2, 3)\n"),
        ('<!-- run: "1" for "2" -->', "python", "print(2)\n"),
        ("<!-- prints: true -->", "console", ""),
        ("<!-- session: c -->", "console", "$ true\n"),
        ("<!-- file: bits.toml -->", "toml", "head = 4\n"),
        ("<!-- tested: .ci/run -->", "sh", "make check     # lint\nmake test\n"),
        ("<!-- shown: needs a network -->", "sh", "pip install x\n"),
        ("", "text", "V[t] = 1\n"),
    ],
)
def test_marks_that_are_understood(mark, language, text):
    assert problems_of(page_with(mark, language, text), "page.md") == []


@pytest.mark.parametrize(
    ("mark", "language", "text", "problem"),
    [
        ("", "sh", "true\n", "no mark"),
        ("<!-- runs -->", "sh", "true\n", "an unknown one"),
        ("<!-- run -->\n", "sh", "true\n", "no mark"),
        ("<!-- run -->", "toml", "a = 1\n", "not with 'toml'"),
        ("<!-- run -->", "", "true\n", "not with ''"),
        ("<!-- run: -->", "sh", "true\n", "no mark"),
        ("<!-- run:  -->", "sh", "true\n", "no mark"),
        ('<!-- run: lava"1" for "2" -->', "sh", "2\n", "not understood"),
        ("<!-- run: lava; -->", "sh", "2\n", "not understood"),
        ("<!-- run: Lava -->", "sh", "true\n", "not understood"),
        ('<!-- run: "1" for "2" -->', "sh", "true\n", "'2' does not occur"),
        ("<!-- prints -->", "console", "1\n", "behind a block that is run"),
        ("<!-- session -->", "console", "true\n", "begins with a command"),
        ("<!-- file: ../x.toml -->", "toml", "a = 1\n", "not the name of a file"),
        ("<!-- tested: tests/docs/test_none.py -->", "sh", "true\n", "no such test"),
        ("<!-- tested: docs/onnx.md -->", "sh", "true\n", "no such test"),
        ("<!-- tested: tests/test_errors.py -->", "sh", "true\n", "does not take this block"),
        ("<!-- tested: .ci/run -->", "sh", "make fuzz\n", "does not run make fuzz"),
        ("<!-- shown -->", "sh", "true\n", "says what it needs"),
        ("", "text", "a drawing\n$ ds2ta doctor\n", "a command in a block of text"),
        ("<!-- run -->", "text", "a drawing\n", "has no mark"),
        ("<!-- run -->\nwords\n<!-- run -->", "sh", "true\n", "a mark without a block"),
    ],
)
def test_marks_that_mean_nothing_are_told(mark, language, text, problem):
    assert re.search(problem, "\n".join(problems_of(page_with(mark, language, text), "page.md")))


@pytest.mark.parametrize("text", ["```sh\ntrue\n", "- item\n  ```sh\n  true\n  ```\n", "~~~\ntrue\n~~~\n", "```sh title\ntrue\n```\n"])
def test_blocks_that_would_be_overlooked_are_told(text):
    with pytest.raises(ValueError, match=r"page\.md:\d: "):
        read(text)


def test_kinds_are_those_that_contributors_are_told():
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`<!-- {kind}" not in guide] == []


# --- executing -------------------------------------------------------------------------------------------------------


@pytest.fixture
def take(tmp_path):
    """Return a function that executes a page's text."""

    def taken(text):
        folder = tmp_path / "page"
        folder.mkdir()
        run = PageRun(folder)
        for block in read(text):
            run.take(block)
        return run

    return taken


@pytest.mark.parametrize(
    "text",
    [
        page_with("<!-- run -->", "sh", "false\ntrue\n"),
        page_with("<!-- run -->", "python", "assert False\n"),
        page_with("<!-- run -->", "sh", "false | true\n"),
        page_with("<!-- run -->", "sh", "echo Traceback\n"),
        page_with("<!-- prints: echo 2 -->", "console", "1\n"),
        page_with("<!-- session -->", "console", "$ echo 2\n1\n"),
        page_with("<!-- session -->", "console", "$ false\n"),
        page_with("<!-- session -->", "console", "$ echo 'error DS2TA-101'\nerror DS2TA-101\n"),
    ],
)
def test_a_block_that_is_not_so_is_noticed(take, text):
    with pytest.raises(AssertionError):
        take(text)


def test_blocks_share_a_folder_and_what_is_left_running_is_ended(take):
    text = page_with('<!-- run: "3" for "4" -->', "sh", "echo 4 > number\ncamera() { :; }\nsleep 1000 &\n")
    text += page_with("<!-- run -->", "python", "print(open('number').read(), end='')\n") + page_with("<!-- prints -->", "console", "3\n")
    text += page_with("<!-- session -->", "console", "$ cat number | tr 3 5\n5\n\n$ echo 'error 1' >&2; false\nerror …\n")
    take(text)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n…\nb\n", "a\n1\n2\nb\n", True),
        ("a\n…\nb\n", "a\nb\n", True),
        ("a\n…\nb\n", "a\n1\nc\n", False),
        ("size …\n", "\nsize 12 bytes  \n\n", True),
        ("14 16 … (2)\n", "14 16 … (2)\n", True),
        ("14 16 … (2)\n", "14 16 17 (2)\n", False),
        ("a\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_what_is_printed_is_compared(shown, printed, same):
    assert (differences(shown, printed) == "") is same


def test_changes_are_made_at_once_and_the_first_that_fits_counts():
    (block,) = read(
        page_with(
            '<!-- run: "data -o" for "/usr/data -o", "few" for "/usr/data", "2" for "1", "1" for "2" -->',
            text="a /usr/data -o 1\nb /usr/data 2\n",
        )
    )
    assert block.executed == "a data -o 2\nb few 1\n"


def test_a_session_is_cut_at_its_commands():
    assert exchanges("$ one\n1\n\n$ two\n$ three\n3\n") == [("one", "1\n\n"), ("two", ""), ("three", "3\n")]


def test_what_a_page_makes_it_is_not_given():
    commands = "ds2ta-export ckpt.safetensors -o OUT\nds2ta run OUT --inputs pictures.npz\n"
    assert names_for(commands).keys() == {
        "ckpt.safetensors",
        "pictures.npz",
    }
    assert names_for("ds2ta run OUT --inputs recording.dat") == {"recording.dat": "recording.dat", "OUT": "OUT of events"}
    assert names_for('onnx.load("OUT/model.onnx")') == {"OUT": "OUT"}
    assert set(names_for('onnx.load("model.onnx")')) == {"model.onnx"} <= set(MAKERS)


def test_what_is_needed_is_looked_for():
    assert missing("reference") == ""
    with pytest.raises(KeyError):
        missing("no-such-extra")
