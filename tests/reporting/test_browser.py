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
