"""The page as people see it, in a real browser: on wide screens and phones, light and dark, on paper and without its script."""

from __future__ import annotations

import io
import shutil
import zlib
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from probe_samples import hostile_report, no_layers, not_finite_report, resnet, small, transformer, unmeasured, vanishing_report

from normadvisor.report.html import html_audit, html_probe
from normadvisor.types import Report

ROOT = Path("/project")
SAMPLES = {
    "vanishing": lambda: html_probe(vanishing_report(), root=ROOT),
    "not finite": lambda: html_probe(not_finite_report(), root=ROOT),
    "healthy": lambda: html_probe(Report(measurements=(resnet(),)), root=ROOT),
    "small": lambda: html_probe(Report(measurements=(small(),)), root=ROOT),
    "several": lambda: html_probe(Report(measurements=(no_layers(), unmeasured(), small())), root=ROOT),
    "large": lambda: html_probe(Report(measurements=(transformer(96),)), root=ROOT),
    "hostile": lambda: html_probe(hostile_report(), root=ROOT),
    "comparison": lambda: html_probe(Report(measurements=(resnet(seed=7, lr_factor=30.0),)), compare=resnet(), root=ROOT),
    "audit": lambda: html_audit(not_finite_report(), go=False, reasons=["Step 3 is not finite.", "x" * 400], root=ROOT),
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: nobody looks at the HTML report")
    with sync.sync_playwright() as playwright:
        found = next((path for path in map(shutil.which, BROWSERS) if path), None)
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path and `playwright install chromium` was not run")
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The samples as files, written when they are asked for."""
    folder = tmp_path_factory.mktemp("pages")

    def place(name: str) -> str:
        path = folder / f"{name.replace(' ', '-')}.html"
        if not path.exists():
            path.write_text(SAMPLES[name](), encoding="utf-8")
        return path.as_uri()

    return place


@pytest.fixture
def visit(browser, pages):
    """Open a sample; at the end nothing may have been complained of, and nothing but the file loaded."""

    @contextmanager
    def opened(name, *, width=1180, height=900, scheme="light", script=True):
        # The time limit is for machines that do much else; what is slow by itself has a test of its own.
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=script)
        page = context.new_page()
        page.set_default_timeout(120_000)
        complaints, loaded = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: loaded.append(request.url))
        page.goto(pages(name))
        try:
            yield page
        finally:
            context.close()
        assert (complaints, loaded) == ([], [pages(name)])

    return opened


def pixels(page, selector: str) -> Image.Image:
    return Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB")


def share_near(image: Image.Image, color: tuple[int, int, int], within: int = 40) -> float:
    """Share of the pixels whose channels are all near those of a colour."""
    data = image.tobytes()
    pixels = zip(data[0::3], data[1::3], data[2::3], strict=True)
    return sum(all(abs(channel - wanted) <= within for channel, wanted in zip(pixel, color, strict=True)) for pixel in pixels) / (len(data) // 3)


# Text of SVG and HTML with its colour, the background it stands on, and whether it can be seen.
TEXTS = """() => {
  const parse = color => { const n = color.match(/[\\d.]+/g).map(Number); return n.length === 3 ? [...n, 1] : n; };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = c => { const l = c.map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("script, style, title, #tip") || !element.checkVisibility()) continue;
    const range = document.createRange(); range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (!box.width) continue;
    const style = getComputedStyle(element), below = ground(element);
    const ink = over(parse(element instanceof SVGElement ? style.fill : style.color), below);
    const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
    const scrolls = element.closest(".scroll, .code");
    found.push({ words: node.data.trim().slice(0, 60), contrast: (a + 0.05) / (b + 0.05), left: box.left, right: box.right, scrolls: !!scrolls, size: parseFloat(style.fontSize) });
  }
  return found;
}"""

# Labels within one chart that cover each other.
COVERED = """() => [...document.querySelectorAll(".plot")].flatMap(plot => {
  const labels = [...plot.querySelectorAll("text")].filter(e => e.checkVisibility()).map(e => ({ words: e.textContent, box: e.getBoundingClientRect() }));
  return labels.flatMap((a, i) => labels.slice(i + 1).filter(b =>
    Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 1 && Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 3
  ).map(b => a.words + " | " + b.words));
})"""

# Blocks that follow each other and cover each other.
STACKED = """() => {
  const blocks = [...document.querySelectorAll("h1, h2, h3, p, figure, table, article, dl.facts > div, ul.legend, .verdict")].filter(e => e.checkVisibility());
  return blocks.flatMap((a, i) => blocks.slice(i + 1).filter(b => !a.contains(b) && !b.contains(a)).filter(b => {
    const x = a.getBoundingClientRect(), y = b.getBoundingClientRect();
    return Math.min(x.right, y.right) - Math.max(x.left, y.left) > 1 && Math.min(x.bottom, y.bottom) - Math.max(x.top, y.top) > 1;
  }).map(b => a.tagName + " " + a.textContent.slice(0, 40) + " | " + b.tagName + " " + b.textContent.slice(0, 40)));
}"""


@pytest.mark.parametrize("width", [320, 390, 768, 1180, 1920])
@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_overflows_or_overlaps(visit, name, width):
    with visit(name, width=width) as page:
        inner = page.evaluate("document.documentElement.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth") == inner
        outside = [text for text in page.evaluate(TEXTS) if not text["scrolls"] and (text["left"] < -1 or text["right"] > inner + 1)]
        assert outside == []
        assert page.evaluate(COVERED) == []
        assert page.evaluate(STACKED) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SAMPLES)
def test_all_text_can_be_read(visit, name, scheme):
    """Contrast of at least 4.5 (WCAG 2.2, 1.4.3), and no letters below 11 pixels."""
    with visit(name, scheme=scheme) as page:
        texts = page.evaluate(TEXTS)
        assert len(texts) > 10
        assert [text for text in texts if text["contrast"] < 4.5] == []
        assert [text for text in texts if text["size"] < 11] == []


def test_dark_and_light_follow_the_reader(visit):
    corners = {}
    for scheme in ("light", "dark"):
        with visit("vanishing", scheme=scheme) as page:
            image = pixels(page, "body")
            corners[scheme] = image.getpixel((2, 2))
    assert corners == {"light": (253, 253, 252), "dark": (22, 24, 27)}


@pytest.mark.parametrize(("scheme", "line", "zone"), [("light", (31, 95, 153), (244, 226, 224)), ("dark", (116, 179, 234), (57, 42, 43))])
def test_the_chart_shows_a_line_and_a_shaded_zone(visit, scheme, line, zone):
    with visit("vanishing", scheme=scheme) as page:
        image = pixels(page, ".plot .inner")
        left, right = image.crop((0, 0, image.width // 3, image.height)), image.crop((2 * image.width // 3, 0, image.width, image.height))
        assert share_near(image, line) > 0.002
        assert share_near(left, zone, 6) > 0.7
        assert share_near(right, zone, 6) == 0.0


def test_points_are_round_however_the_chart_is_stretched(visit):
    """Points are lines of no length; their round ends must not be stretched with the axis."""
    for width in (390, 1180):
        with visit("not finite", width=width) as page:
            box = page.evaluate("""() => {
              const dot = document.querySelector(".plot .dot.error"), box = dot.getBoundingClientRect(), style = getComputedStyle(dot);
              return { stroke: style.strokeWidth, effect: style.vectorEffect, cap: style.strokeLinecap, height: box.height };
            }""")
            assert box == {"stroke": "6.5px", "effect": "non-scaling-stroke", "cap": "round", "height": 0}


def test_the_pointer_names_the_layer(visit):
    with visit("vanishing") as page:
        area = page.locator(".plot .area").first
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5 / 41, box["y"] + 50)
        tip = page.locator("#tip")
        assert tip.is_visible()
        assert tip.locator("b").inner_text() == "body.0"
        assert tip.locator("i").inner_text() == "Linear \u00b7 NA601"
        assert tip.locator("span").first.inner_text() == "2.7e-9"
        shown = page.locator(".cross").evaluate_all("list => list.map(e => e.getAttribute('visibility') + ' ' + e.getAttribute('d'))")
        assert shown == ["visible M0.5 0V100"] * 5
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 50)
        assert tip.locator("b").inner_text() == "head"
        edges = tip.bounding_box()
        assert edges["x"] + edges["width"] <= 1180
        page.mouse.move(5, 5)
        assert not tip.is_visible()


def test_the_keyboard_reaches_every_layer(visit):
    with visit("small") as page:
        page.locator(".plot .area").first.focus()
        names = []
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
            page.keyboard.press(key)
            names.append(page.locator("#tip b").inner_text())
        assert names == ["1", "2", "2", "1", "0", "2"]
        page.keyboard.press("Escape")
        assert not page.locator("#tip").is_visible()


def test_the_pointer_shows_hostile_names_as_words(visit):
    with visit("hostile") as page:
        area = page.locator(".plot .area").first
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        names = []
        for index in range(16):
            page.mouse.move(box["x"] + box["width"] * (index + 0.5) / 16, box["y"] + 40)
            names.append(page.locator("#tip b").inner_text())
        assert names[:3] == ["<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</script><script>alert(3)</script>"]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["vanishing", "healthy", "large"])
def test_without_a_script_the_same_picture_is_there(visit, name):
    images, counts = [], []
    for script in (True, False):
        with visit(name, script=script) as page:
            images.append(page.screenshot(full_page=True))
            counts.append(page.locator("svg path").count())
    assert counts[0] == counts[1] > 20
    first, second = (Image.open(io.BytesIO(image)).convert("RGB") for image in images)
    assert first.size == second.size
    assert first.tobytes() == second.tobytes()


def test_without_a_script_the_tree_opens(visit):
    with visit("healthy", script=False) as page:
        leaf = page.locator(".tree .leaf", has_text="conv1").nth(1)
        assert not leaf.is_visible()
        page.locator(".tree summary", has_text="layer1").click()
        page.locator(".tree details[open] details summary").first.click()
        assert leaf.is_visible()


def test_modules_with_findings_are_open_and_marked(visit):
    with visit("vanishing") as page:
        assert page.locator(".tree .leaf").first.is_visible()
        assert page.locator(".tree .leaf .icon.error").count() == 12
        assert page.locator(".tree .leaf .icon.warning").count() == 5
        assert page.locator(".tree summary .icon.error").count() == 1


def test_a_rule_in_the_table_leads_to_its_finding(visit):
    with visit("vanishing") as page:
        page.locator("td a", has_text="NA604").first.click()
        assert page.evaluate("document.querySelector(':target h3').innerText") == "NA604 saturated-units"


def test_names_for_those_who_do_not_see(visit):
    with visit("vanishing") as page:
        unnamed = page.locator("svg[role=img]").evaluate_all("list => list.filter(e => !e.querySelector(':scope > title') && !e.getAttribute('aria-label')).length")
        assert unnamed == 0
        hidden = page.locator("svg:not([role=img])").evaluate_all(
            "list => list.filter(e => !e.closest('[role=img], [aria-hidden=true]') && !(e.matches('.track') && e.querySelector('title'))).length"
        )
        assert hidden == 0
        levels = page.locator("h1, h2, h3, h4").evaluate_all("list => list.map(e => +e.tagName[1])")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_paper(visit):
    """Printed from the dark scheme the page is white, has all charts and rows, and nothing that only a screen can use."""
    with visit("vanishing", scheme="dark") as page:
        data = page.pdf(format="A4")
        page.emulate_media(media="print")
        assert pixels(page, "body").getpixel((2, 2)) == (255, 255, 255)
        assert not page.locator("#tip, .more").first.is_visible()
        assert page.locator(".plot").first.is_visible()
        assert [text for text in page.evaluate(TEXTS) if text["contrast"] < 4.5] == []
    assert 2 <= data.count(b"/Type /Page\n") <= 8
    drawn = b"".join(inflated(data))
    assert drawn.count(b" l\n") > 200  # lines of charts
    assert drawn.count(b"Tj") + drawn.count(b"TJ") > 200  # words


def inflated(data: bytes):
    """The streams of a PDF file that are compressed with zlib."""
    start = data.find(b"stream\n")
    while start >= 0:
        stop = data.find(b"endstream", start)
        with suppress(zlib.error):
            yield zlib.decompress(data[start + len(b"stream\n") : stop])
        start = data.find(b"stream\n", stop + len(b"endstream"))


def test_a_thousand_layers_open_quickly_and_answer_the_pointer(visit):
    with visit("large") as page:
        timing = page.evaluate("() => { const t = performance.getEntriesByType('navigation')[0]; return t.domContentLoadedEventEnd; }")
        assert timing < 5000
        area = page.locator(".plot .area").first
        box = area.bounding_box()
        page.mouse.move(box["x"] + 300, box["y"] + 40)
        assert page.locator("#tip b").inner_text().startswith("transformer.h.")


def test_the_verdict_is_seen_first(visit):
    with visit("audit", width=390, height=844) as page:
        box = page.locator(".verdict .word").bounding_box()
        assert box["y"] + box["height"] < 400
        assert page.locator(".verdict .word").inner_text() == "No go"


def test_samples_differ():
    """Every sample is another page: none of these tests looks at one page twice."""
    texts = [make() for make in SAMPLES.values()]
    assert len(set(texts)) == len(texts)
