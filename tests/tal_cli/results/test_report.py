"""The page of a report, as text: nothing from outside becomes markup; and `tal view`, which builds it from results."""

from __future__ import annotations

import gzip
import html.parser
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered_videos import write_numbered_video
from small_runs import Tal

from tal_cli.datasets.formats import load_annotations
from tal_cli.results.colours import COUNT, ON_DARK, ON_LIGHT, colour_index, colours
from tal_cli.results.report.builder import Report
from tal_cli.results.report.data import MOST_THUMBNAILS, moment_of, moments_of, safe_json
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo

RUN = RunInfo("0.1.0", "camera", "ab" * 32)
HOSTILE = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=2">'


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: its elements, and the text of its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data

    def json(self, name: str) -> Any:
        kinds = [attributes for tag, attributes in self.elements if tag == "script"]
        (index,) = [index for index, attributes in enumerate(kinds) if attributes.get("id") == name]
        return json.loads(self.scripts[index])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered_video(tmp_path_factory.mktemp("recording") / "recording.mp4", sound=None)


def report(path: Path, *videos: Detections, annotations: Path | None = None, embed: bool = False) -> Page:
    sink = Report(path, RUN, annotations=load_annotations(annotations) if annotations else None, embed=embed)
    for video in videos:
        sink.add(video)
    sink.finish()
    return Page(path)


def found(path: Path, *segments: Segment, name: str = "recording") -> Detections:
    return Detections(name, str(path), 4.0, 25.0, 100, segments)


def test_a_page_is_self_contained(recording: Path, tmp_path: Path) -> None:
    page = report(
        tmp_path / "page.html", found(recording, Segment("run", 1.0, 2.0, 0.9), Segment("cut", 0.5, 0.7, 0.3))
    )
    outside = {"src", "href", "action", "data", "srcset"}
    assert [
        (tag, name, value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in outside and not (value or "").startswith("#")
    ] == []
    data = page.json("data-0")
    assert [row[1:] for row in data["segments"]] == [[0.5, 0.7, 0.3], [1.0, 2.0, 0.9]]
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in page.json("thumbnails-0"))
    assert data["thumbnails"] == [0, 1]
    assert str(data["source"]).endswith("/recording.mp4") and (data["width"], data["height"]) == (176, 64)
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert (
        policy is not None and "default-src 'none'" in policy and "'unsafe-inline'" not in policy.split("style-src")[0]
    )


def test_nothing_hostile_becomes_markup(recording: Path, tmp_path: Path) -> None:
    plain = report(tmp_path / "plain.html", found(recording, Segment("run", 1.0, 2.0, 0.9)))
    video = tmp_path / f"{HOSTILE.replace('/', '_')}.mp4"
    video.write_bytes(recording.read_bytes())
    page = report(tmp_path / "page.html", found(video, Segment(HOSTILE, 1.0, 2.0, 0.9), name=HOSTILE))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.json("page")["labels"][0]["name"] == HOSTILE
    assert page.json("data-0")["name"] == HOSTILE


@given(
    st.recursive(
        st.text() | st.floats(allow_nan=False), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_in_a_page_is_inert_and_whole(value: object) -> None:
    text = safe_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


spans = st.tuples(st.floats(0, 1e4), st.floats(1e-3, 500)).map(lambda span: Segment("run", span[0], sum(span), 0.5))


@given(st.lists(spans, max_size=60), st.integers(1, 20))
def test_a_segment_is_shown_by_a_moment_within_it(segments: list[Segment], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tal_cli.results.report.data.MOST_THUMBNAILS", most)
        times = moments_of(segments)
    assert times == sorted(times) and len(times) <= most
    for place, segment in enumerate(segments):
        shown = moment_of(segment, times)
        assert shown is not None or place >= most
        assert shown is None or segment.start <= times[shown] <= segment.end


def test_the_best_segments_have_thumbnails(recording: Path, tmp_path: Path) -> None:
    apart = [Segment("run", 0.01 * i, 0.01 * i + 0.01, i / 400) for i in range(MOST_THUMBNAILS + 50)]
    crowded = [Segment("jump", 1.0, 1.1 + 0.001 * i, 0.9) for i in range(1000)]
    page = report(tmp_path / "page.html", found(recording, *apart), found(recording, *crowded))
    data = page.json("data-0")
    pairs = zip(data["segments"], data["thumbnails"], strict=True)
    assert len(page.json("thumbnails-0")) == MOST_THUMBNAILS
    assert min(row[3] for row, picture in pairs if picture is not None) >= 48 / 400
    assert None not in page.json("data-1")["thumbnails"] and len(page.json("thumbnails-1")) < 20


def test_a_video_that_is_gone_leaves_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = report(tmp_path / "page.html", found(tmp_path / "gone.mp4", Segment("run", 1.0, 2.0, 0.9)))
    data = page.json("data-0")
    assert data["source"] is None and "No such file" in str(data["problem"])
    assert "gone.mp4: no thumbnails in the report" in capsys.readouterr().err


def test_an_embedded_video_is_the_file(recording: Path, tmp_path: Path) -> None:
    import base64

    page = report(tmp_path / "page.html", found(recording, Segment("run", 1.0, 2.0, 0.9)), embed=True)
    (index,) = [i for i, a in enumerate(a for t, a in page.elements if t == "script") if a.get("id") == "video-0"]
    assert base64.b64decode(page.scripts[index]) == recording.read_bytes()


def test_no_more_recording_is_embedded_than_a_page_can_hold(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tal_cli.results.report.builder.MOST_EMBEDDED", 2 * recording.stat().st_size)
    page = report(
        tmp_path / "page.html", *[found(recording, name=f"recording {number}") for number in range(3)], embed=True
    )
    assert [page.json(f"data-{number}")["embedded"] for number in range(3)] == [True, True, False]
    assert "linked instead of embedded" in capsys.readouterr().err


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira and Fernandes 2009, severity 1.
CONFUSIONS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
CONE = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]])
LAB = np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]])


@pytest.mark.parametrize("palette", [ON_LIGHT, ON_DARK], ids=["light", "dark"])
@pytest.mark.parametrize("vision", CONFUSIONS)
def test_colours_are_told_apart(palette: list[str], vision: str) -> None:
    seen = np.clip(np.array([linear(colour) for colour in palette]) @ np.array(CONFUSIONS[vision]).T, 0, 1)
    lab = np.cbrt(seen @ CONE.T) @ LAB.T
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 9 * np.eye(COUNT)
    assert distances.min() > 0.085  # a just noticeable difference is about 0.02


def contrast(one: str, other: str) -> float:
    light, dark = sorted((float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_and_text_stand_out_from_their_ground() -> None:
    assert min(contrast(colour, "#ffffff") for colour in ON_LIGHT) > 2.9
    assert min(contrast(colour, "#1b1d21") for colour in ON_DARK) > 2.9
    for text, ground in [
        ("#62656b", "#f6f6f4"),
        ("#a0a4ab", "#24262b"),
        ("#086884", "#ffffff"),
        ("#23bcfe", "#1b1d21"),
    ]:
        assert contrast(text, ground) > 4.5


@given(st.sets(st.text(max_size=4), max_size=40))
def test_labels_have_colours_of_their_own(labels: set[str]) -> None:
    chosen = colours(labels)
    assert len({(colour.light, colour.round) for colour in chosen.values()}) == len(labels)
    assert all(colour.round == 0 for colour in chosen.values()) or len(labels) > COUNT
    alone = {label: colours([label])[label].light for label in labels}
    assert all(alone[label] == ON_LIGHT[colour_index(label)] for label in labels)


def write_results(folder: Path, recording: Path, kind: str, packed: bool) -> Path:
    video = found(recording, Segment("run", 1.0, 2.0, 0.9), Segment("a, b", 0.5, 0.7, 0.3))
    path = folder / f"found.{kind}{'.gz' if packed else ''}"
    with gzip.open(path, "wb") if packed else path.open("wb") as file:
        FORMATS[kind].writer()([video], file, RunInfo("0.1.0", "camera", "", ("run", "jump")))
    return path


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_view_builds_the_page(run: Tal, recording: Path, tmp_path: Path, kind: str) -> None:
    results = write_results(tmp_path, recording, kind, True)
    truth = tmp_path / "truth.json"
    annotations = [{"label": "run", "segment": [1.1, 2.1]}, {"label": "fall", "segment": [3, 3.5]}]
    annotations.append({"label": "bark", "segment": [3.7, 3.7], "kind": "point"})
    truth.write_text(
        json.dumps({"database": {"recording": {"subset": "test", "duration": 4, "annotations": annotations}}})
    )
    done = run("view", results, "--video", recording.parent, "--annotations", truth, "--min-score", 0.5)
    assert (done.code, done.out, done.err) == (0, f"{tmp_path / 'found.html'}\n", "")
    data = Page(tmp_path / "found.html").json("data-0")
    assert len(data["segments"]) == 1 and [row[1:] for row in data["truth"]] == [[1.1, 2.1], [3, 3.5], [3.7, 3.7]]
    assert data["duration"] == 4.0 and data["fps"] == 25.0


@pytest.mark.slow
def test_view_takes_folders_patterns_and_several_files(run: Tal, recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    (folder / "deep").mkdir(parents=True)
    write_results(folder, recording, "json", False)
    write_results(folder / "deep", recording, "csv", True)
    (folder / "notes.txt").write_text("no results")
    done = run("view", folder, "--video", recording)
    names = ["recording", "recording (found.csv.gz)"]
    assert (done.code, done.out, done.err) == (0, f"{folder / 'report.html'}\n", "")
    page = Page(folder / "report.html").json("page")
    assert sorted(video["name"] for video in page["videos"]) == names and page["run"]["model"] == "camera"
    done = run(
        "view", f"{folder}/*.json", folder / "deep" / "found.csv.gz", "--video", recording, "-o", tmp_path / "a.html"
    )
    assert done.code == 0 and [video["name"] for video in Page(tmp_path / "a.html").json("page")["videos"]] == names
    (folder / "truth.json").write_text("{}")
    done = run("view", folder, "-o", tmp_path / "b.html")
    assert done.code == 3 and "truth.json: not a results file" in done.err and (tmp_path / "b.html").exists()
    for wrong, reason in [
        ("no.json", "no such file"),
        ("no*.json", "no file matches"),
        (recording.parent, "no results"),
    ]:
        done = run("view", wrong)
        assert done.code == 3 and reason in done.err and done.out == ""


def test_view_shows_what_other_tools_write(run: Tal, recording: Path, tmp_path: Path) -> None:
    rows = [{"label": "run", "score": 3.5, "segment": [1, 9]}]
    names = ["recording", *(f"gone {number}" for number in range(9))]
    (tmp_path / "other.json").write_text(json.dumps({"version": "1.3", "results": {name: rows for name in names}}))
    done = run("view", tmp_path / "other.json")
    assert done.code == 0 and done.err.count("no thumbnails in the report") == 5
    assert "5 more videos without thumbnails" in done.err and "--videos DIR" in done.err
    (tmp_path / "v_recording.mp4").write_bytes(recording.read_bytes())
    done = run("view", tmp_path / "other.json", "--video", tmp_path)
    page = Page(tmp_path / "other.html")
    assert page.json("data-0")["source"] == "./v_recording.mp4" and page.json("data-0")["duration"] == 9
    assert page.json("page")["scores"] == [0, 3.5]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--report", "recording.mp4"), "use the suffix .html"),
        (("--report", "."), "all videos are on one page"),
        (("--embed",), "add --report"),
        (("--annotations", "x.json"), "add --report"),
    ],
)
def test_wrong_options_are_rejected_at_once(run: Tal, recording: Path, options: tuple[str, ...], reason: str) -> None:
    done = run("detect", recording, *options)
    assert done.code == 2 and reason in done.err


def test_detect_makes_the_page_and_the_results(run: Tal, recording: Path, tmp_path: Path) -> None:
    done = run("detect", recording, "--report", tmp_path / "page.html", "-o", tmp_path / "found.json", "--top-k", 3)
    assert done.code == 0, done.err
    assert len(Page(tmp_path / "page.html").json("data-0")["segments"]) == 3
    assert json.loads((tmp_path / "found.json").read_text())["external_data"]["labels"] == ["jump", "run", "cut"]


def test_formats_of_one_video_want_a_folder_for_many(run: Tal, clips: Path, tmp_path: Path) -> None:
    two = (clips / "first.mp4", clips / "second.mp4")
    done = run("detect", *two, "-o", tmp_path / "found.srt")
    assert done.code == 2 and "holds one video" in done.err and "--output DIR/" in done.err
    done = run("detect", *two, "-f", "elan", "-o", tmp_path / "out")
    assert done.code == 0 and sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first.eaf", "second.eaf"]


def test_a_missing_package_is_named(run: Tal, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = run("detect", recording, "-f", "parquet")
    assert done.code == 4 and "pip install 'tal-cli[parquet]'" in done.err
