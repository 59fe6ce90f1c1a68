"""The page in a real browser: nothing that a model wrote runs, and the filter works."""

import re
import shutil
import subprocess

import pytest

from cai.reporting.report import build
from tests.reporting.small_root import make

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Clicks every link and opens every text as a reader would, then writes what happened into the title.
PROBE = """
document.querySelectorAll("details").forEach(d => { d.open = true; });
document.querySelectorAll("main a[href^='javascript']").forEach(a => a.click());
const pick = document.getElementById("rule");
pick.value = "mojibake";
pick.dispatchEvent(new Event("change"));
const seen = [...document.querySelectorAll("[data-rules]")].filter(row => !row.hidden);
setTimeout(() => {
  document.title = ["hit", window.HIT, "rows", seen.length, seen.every(r => r.dataset.rules.includes("mojibake")),
    "wide", document.documentElement.scrollWidth - document.documentElement.clientWidth].join(" ");
}, 300);
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


def opened(page: str, folder, width: int) -> str:
    """The document after its scripts ran, with a probe added that the page's own policy would not let in."""
    policy = page[page.index('<meta http-equiv="Content') :].split(">", 1)[0] + ">"
    probed = page.replace(policy, "").replace("</body>", f"<script>{PROBE}</script></body>")
    return dumped(probed, folder, width)


def dumped(page: str, folder, width: int = 1400) -> str:
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width},1000"]
    command += ["--virtual-time-budget=3000", "--dump-dom", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return build(make(tmp_path_factory.mktemp("root"), failed_gate="cleaned"))


def test_hostile_texts_do_nothing_and_the_filter_filters(page, tmp_path):
    # Without the policy, so that escaping alone has to hold.
    title = opened(page, tmp_path, 1400).split("<title>")[1].split("</title>")[0]
    assert title.startswith("hit  rows 4 true")


def test_an_unescaped_text_would_be_noticed(page, tmp_path):
    broken = page.replace(
        "&lt;script&gt;window.HIT=1;document.title=&#34;HIT&#34;&lt;/script&gt;", "<script>window.HIT=1</script>", 1
    )
    assert broken != page
    title = opened(broken, tmp_path, 1400).split("<title>")[1].split("</title>")[0]
    assert title.startswith("hit 1 ")


def test_the_pages_own_policy_stops_what_escaping_would_let_through(page, tmp_path):
    broken = page.replace(
        "&lt;script&gt;window.HIT=1;document.title=&#34;HIT&#34;&lt;/script&gt;",
        '<script>document.title="HIT"</script>',
        1,
    )
    text = dumped(broken, tmp_path)
    assert "<title>HIT</title>" not in text
    assert "15 of 15 rows shown" in text


def test_a_phone_of_400_pixels_does_not_scroll_sideways(page, tmp_path):
    # Chromium opens no window that narrow, so the page stands in a frame.
    inner = page.replace("&", "&amp;").replace('"', "&quot;")
    frame = f'<iframe id="f" style="width:400px;height:900px;border:0" srcdoc="{inner}"></iframe>'
    probe = """<script>setTimeout(() => {
      const root = document.getElementById("f").contentDocument.documentElement;
      document.title = ["wide", root.clientWidth, root.scrollWidth - root.clientWidth].join(" ");
    }, 1500);</script>"""
    text = dumped(f"<!doctype html><title></title><body>{frame}{probe}</body>", tmp_path)
    width, beyond = re.search(r"<title>wide (\d+) (-?\d+)</title>", text).groups()
    assert 380 <= int(width) <= 400  # less a scroll bar
    assert int(beyond) == 0


def test_on_paper_nothing_is_cut_off_and_only_numbers_are_open(page, tmp_path):
    # The rules for paper, put on the screen at the width of an A4 page without its margins.
    paper = page.replace("@media print", "@media all").replace("@page { margin: 12mm; }", "")
    assert paper != page
    inner = paper.replace("&", "&amp;").replace('"', "&quot;")
    frame = f'<iframe id="f" style="width:703px;height:900px;border:0" srcdoc="{inner}"></iframe>'
    probe = """<script>setTimeout(() => {
      const paper = document.getElementById("f").contentDocument, width = paper.documentElement.clientWidth;
      const cut = [...paper.querySelectorAll("th, td, .question, figure, .flow li")].filter(
        one => one.getClientRects().length && one.getBoundingClientRect().right > width + 1);
      const seen = one => one.checkVisibility({contentVisibilityAuto: true, contentVisibilityProperty: true});
      const texts = [...paper.querySelectorAll("details .text")], tables = [...paper.querySelectorAll("details td")];
      document.title = ["paper", cut.length, texts.length, texts.filter(seen).length, tables.length,
        tables.filter(seen).length].join(" ");
    }, 1500);</script>"""
    text = dumped(f"<!doctype html><title></title><body>{frame}{probe}</body>", tmp_path)
    cut, texts, seen_texts, cells, seen_cells = map(int, re.search(r"<title>paper ([\d ]+)</title>", text)[1].split())
    assert cut == 0
    assert texts > 0
    assert seen_texts == 0
    assert cells == seen_cells > 0


def test_the_page_prints_to_a_pdf_of_some_pages_in_dark_too(page, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    sizes = []
    for scheme in ("1", "0"):  # light, dark
        target = tmp_path / f"{scheme}.pdf"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}/profile", "--no-pdf-header-footer"]
        command += [f"--blink-settings=preferredColorScheme={scheme}", f"--print-to-pdf={target}", file.as_uri()]
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        content = target.read_bytes()
        assert content.startswith(b"%PDF")
        sizes.append(len(re.findall(rb"/Type\s*/Page\b(?!s)", content)))
    assert 4 < sizes[0] == sizes[1] < 40
