"""The pages: what they link to is there, their commands are obeyed, the README is short."""

import re
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import last_of_each

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "records")),
]
ELSEWHERE = ("yours.md", "python.md")  # pages with a test of their own
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LOOKED_AT = ("--help", "--plan", "--cfg")  # command lines that train nothing


def commands(page):
    """What a reader types: lines of a page's blocks, without the remarks behind them, and whole
    command lines within a sentence."""
    text = page.read_text()
    for block in FENCED.findall(text):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if re.match(r"(mnist-|make |python |PYTHONPATH=)", line):
                yield re.sub(r"\s+#.*$|\s{2,}\w.*$", "", line).strip()
    for span in re.findall(r"`(mnist-\w+ (?!--(?!help|cfg))[^`]+)`", FENCED.sub("", text)):
        if not re.search(r"\.\.\.(?!\S)(?<!/\.\.\.)|…|\b(NAME|DIR|RUN_OR_SWEEP_DIR)\b", span):
            yield " ".join(span.split())


COMMANDS = [
    (str(page.relative_to(ROOT)), command)
    for page in PAGES
    if page.name not in ELSEWHERE
    for command in dict.fromkeys(commands(page))
]
VERBS = [each for each in COMMANDS if each[1].startswith("mnist-")]


def each_of(pairs):
    ids = [": ".join(pair) for pair in pairs]
    return pytest.mark.parametrize("command", [command for _, command in pairs], ids=ids)


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = FENCED.sub("", page.read_text())
    links = re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', text)
    for link in (one or other for one, other in links):
        path, _, anchor = link.partition("#")
        if path.startswith("https:"):
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_picture_says_what_is_seen_on_it():
    for page in PAGES:
        for alt in re.findall(r'!\[([^\]]*)\]|<img [^>]*alt="([^"]*)"', page.read_text()):
            assert len(" ".join(alt).split()) >= 3, page
        assert page.read_text().count("<img ") == page.read_text().count(' alt="'), page


def test_a_reader_with_five_minutes():
    text = README.read_text()
    assert len(text.splitlines()) <= 200
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text, f"the README leads nobody to {page.name}"
    for folder in (ROOT / "mnist_lab").iterdir():
        if folder.is_dir() and any(folder.glob("*.py")):
            assert re.search(rf"^.*\b{folder.name}/ ", text, re.MULTILINE), folder
    for door in ("train", "resume", "compare", "evaluate", "predict", "export", "demo"):
        assert f"{door}.py" in text


@pytest.fixture(scope="module")
def place(tmp_path_factory, train_run):
    """A folder with a run, a sweep of two, and a picture, and what the pages call them."""
    folder = tmp_path_factory.mktemp("reader")
    run = train_run(folder / "outputs" / "runs" / "mlp")
    other = train_run(folder / "outputs" / "runs" / "mlp")
    image = np.full((40, 40), 255, np.uint8)
    image[8:32, 18:22] = 0
    Image.fromarray(image).save(folder / "my_three.jpg")
    return folder, run, other


def arguments(command, run, other):
    """The command line with real directories in the place of those that a page leaves open."""
    text = re.sub(
        r"(?<!=)outputs/(runs|sweeps)/\w+/\.\.\.|(?<!=)outputs/lesson/\w+|\bRUN_DIR\b|\bRUN_A\b|\bSWEEP_DIR\b",
        "@",
        command,
    )
    text = text.replace("@", str(run), 1).replace("@", str(other)).replace("RUN_B", str(other))
    return shlex.split(text)


@each_of(VERBS)
def test_a_verb_of_the_pages_is_obeyed(command, place, verbs, tiny, tmp_path):
    """Trained is on a tiny data set, for an epoch; a sweep is planned; the page is served."""
    folder, run, other = place
    verb, *args = arguments(command, run, other)
    module = f"mnist_lab.{verb.removeprefix('mnist-')}"
    if any(text.startswith("my_conf") for text in args):
        pytest.skip("tried with the page of one's own classes")
    if verb == "mnist-demo":
        started = verbs.start(module, *args, "--port", "0", cwd=folder)
        while not started.listens():
            time.sleep(0.02)
        started.send(signal.SIGTERM)
        ended = started.wait()
        assert ended.code in (0, 128 + signal.SIGTERM), ended
        return
    if verb == "mnist-train" and not {*LOOKED_AT} & {*args}:
        typed = {text.partition("=")[0] for text in args}
        data = [text for text in tiny if text.startswith(("data", "trainer=", "threads"))]
        extra = [text for text in data if text.partition("=")[0] not in typed - {"data"}]
        sweep = "-m" in args or any(text.startswith("sweep=") for text in args)
        args = last_of_each(*args, *extra)
        args = [*args, "--plan"] if sweep else last_of_each(*args, "trainer.max_epochs=1")
    ended = verbs.run(module, *args, cwd=folder if verb != "mnist-train" else tmp_path)
    assert ended.code == 0, ended


@each_of([each for each in COMMANDS if each not in VERBS])
def test_what_else_the_pages_call_is_there(command):
    words = [word for word in shlex.split(command) if "=" not in word or word.startswith("make")]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[1] == "-m":
        assert list(ROOT.glob(f"{words[2].replace('.', '/')}*")), command
    else:
        assert (ROOT / words[1]).exists(), command
