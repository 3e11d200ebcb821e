"""Hostile and odd requests, files and folders: refused in a line, and the server lives on with what it had."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from label_client import Client, labelling
from numbered_videos import write_numbered_video

HUGE = "9" * 5000
ODD_NAME = "a\n<img src=x onerror=alert(1)> 🐁"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_numbered_video(folder / "one.mp4", 50)
    write_numbered_video(folder / "single.mp4", 1, sound=None)
    shutil.copy(folder / "single.mp4", folder / f"{ODD_NAME}.mp4")
    return folder


@pytest.fixture(scope="module")
def client(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = tmp_path_factory.mktemp("out") / "labels.json"
    options = ("--annotations", path, "--labels", "groom:g,bite!", "--subjects", "m1")
    with labelling(videos, *options, home=tmp_path_factory.mktemp("home")) as client:
        client.change(client.videos()["one"], {"op": "add", "id": "a", "label": "groom", "segment": [0.4, 0.8]})
        yield client
    strict(path.read_bytes())


def strict(content: bytes) -> Any:
    """What a reader of JSON gets that knows the standard only."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(content.decode("utf-8"), parse_constant=refuse)


BAD_OPS: list[Any] = [
    5, None, "add", [], {}, {"op": "none"}, {"op": ["add"]}, {"op": {"a": 1}},
    {"op": "add"}, {"op": "add", "id": 5, "label": "groom", "segment": [0, 1]},
    {"op": "add", "id": "x" * 65, "label": "groom", "segment": [0, 1]},
    {"op": "add", "id": "b", "label": "groom"}, {"op": "add", "id": "b", "label": "none", "segment": [0, 1]},
    *({"op": "add", "id": "b", "label": "groom", "segment": segment} for segment in (
        [0], [0, 1, 2], "01", {"0": 1}, [None, 1], ["0", "1"], [True, 1], [1, 0], [1, 1], [-1, 1], [0, 1e9],
        [0, 1e300], [10**400, 1])),
    *({"op": "add", "id": "b", "label": "groom", "segment": [0, 1], **more} for more in (
        {"kind": "x"}, {"kind": ["state"]}, {"subject": "stranger"}, {"subject": 5}, {"modifiers": "x"},
        {"modifiers": {"a": 1}}, {"score": "x"}, {"label": ["groom"]})),
    {"op": "add", "id": "b", "annotation": {"label": "groom"}},
    {"op": "update"}, {"op": "update", "id": "none", "segment": [0, 1]}, {"op": "update", "id": ["a"]},
    *({"op": "update", "id": "a", **more} for more in (
        {"segment": [1, 0]}, {"segment": [0, 3]}, {"label": ""}, {"label": None}, {"subject": "x"}, {"by": "x"},
        {"id2": 1}, {"segment": None}, {"modifiers": 5})),
    {"op": "delete"},
    {"op": "reviewed"},
    *({"op": "reviewed", "add": part} for part in (
        5, "12", [0], [1, 0], [[0, 1, 2]], [[0, 1], 5], [None, 1], {"a": 1})),
    {"op": "decide"}, {"op": "decide", "id": "none", "status": "accepted"}, {"op": "decide", "id": "a", "status": "x"},
    {"op": "labels"}, *({"op": "labels", "labels": labels} for labels in (
        5, "ab", {"groom": 1}, [], [5], [{}], [""], ["groom", "groom"], [{"name": "groom", "kind": "x"}],
        [{"name": "groom", "key": "Enter"}], ["groom", {"name": "bite", "key": " "}],
        [{"name": "groom", "modifiers": "x"}], [{"name": "groom", "kind": "point"}])),
    {"op": "labels", "labels": ["groom"], "rename": ["groom"]},
    {"op": "labels", "labels": ["groom"], "rename": {"groom": 5}},
    {"op": "subjects"}, *({"op": "subjects", "subjects": names} for names in (5, "m1", {"m1": 1}, [5], [None])),
]  # fmt: skip


@pytest.mark.parametrize("op", BAD_OPS, ids=lambda op: json.dumps(op)[:60])
def test_bad_ops_change_nothing(client: Client, op: Any) -> None:
    video = client.videos()["one"]
    before = client.contents(video)
    good = {"op": "add", "id": "good", "label": "bite", "segment": [0.0, 0.0]}
    answer = client.change(video, good, op, status=400)
    assert "\n" not in answer["error"]
    assert client.contents(video) == before


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("where", ['"segment": [%s, 1]', '"modifiers": [[%s]]', '"score": %s', '"more": {"x": %s}'])
def test_numbers_that_json_lacks_are_refused(client: Client, value: str, where: str) -> None:
    video = client.videos()["one"]
    op = '{"op": "add", "id": "n", "label": "groom", "segment": [0, 1], ' + where % value + "}"
    body = f'{{"video": "{video}", "client": "a", "ops": [{op}]}}'
    assert client.ask("POST", "/api/changes", body.encode())[0] == 400
    assert client.ask("POST", "/api/settings", f'{{"step": {value}}}'.encode())[0] == 400
    strict(client.ask("GET", f"/api/videos/{video}")[2])


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{", b'{"ops": ' + HUGE.encode() + b"}", b"nul", b"5", b'"x"'],
    ids=lambda body: repr(body[:10]),
)
@pytest.mark.parametrize("path", ["session", "changes", "undo", "settle", "settings", "jobs", "queue/x"])
def test_bodies_that_are_no_object_are_refused(client: Client, path: str, body: bytes) -> None:
    assert client.ask("POST", f"/api/{path}", body)[0] == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("changes", {}),
        ("changes", {"ops": {}}),
        ("changes", {"ops": [{}] * 5001}),
        ("changes", {"ops": [{"op": "delete", "id": "a"}]}),
        ("changes", {"ops": [{"op": "delete", "id": "a"}], "revision": "1"}),
        ("jobs", {"kind": ["train"]}),
        ("jobs", {}),
        ("settle", {"keep": "all"}),
    ],
)
def test_requests_without_sense(client: Client, path: str, body: Any) -> None:
    status, _, content = client.ask("POST", f"/api/{path}", body)
    if path != "settle":  # with nothing to decide it is no mistake
        assert status == 400 and json.loads(content)["error"]
    assert client.ask("POST", "/api/undo", {"video": "none"})[0] == 404


@pytest.mark.parametrize("query", ["from=0&to=1e308", "from=1e308&to=1.7e308", "width=1e308", "from=5&to=1"])
@pytest.mark.parametrize("what", ["waveform", "thumbnails"])
def test_parts_beyond_the_video(client: Client, what: str, query: str) -> None:
    assert client.ask("GET", f"/api/videos/{client.videos()['one']}/{what}?{query}")[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        "GET //[ HTTP/1.1\r\nHost: HOST",
        "GET http://[::1 HTTP/1.1\r\nHost: HOST",
        f"POST /api/changes HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nCookie: COOKIE\r\nContent-Length: {HUGE}",
        "POST /api/changes HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nCookie: COOKIE\r\nContent-Length: -1",
        "GET / HTTP/9.9\r\nHost: HOST",
        "GET /\x00\x1b[2J HTTP/1.1\r\nHost: evil",
        "GET / HTTP/1.1\r\n" + "\r\n".join(f"X{n}: y" for n in range(200)),
        "BREW / HTTP/1.1\r\nHost: HOST",
    ],
    ids=lambda head: repr(head[:30]),
)
def test_heads_that_are_no_http(client: Client, head: str) -> None:
    text = head.replace("HOST", f"127.0.0.1:{client.port}").replace("COOKIE", client.cookie)
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as raw:
        raw.sendall(text.encode() + b"\r\n\r\n")
        status = raw.recv(100).split()[1:2]
    assert status and status[0] in (b"400", b"403", b"404", b"413", b"431", b"505")


def test_an_id_is_of_one_annotation(client: Client) -> None:
    """The same request again changes nothing; another annotation with an id that is taken is not lost in silence."""
    video = client.videos()["one"]
    same = {"op": "add", "id": "a", "label": "groom", "segment": [0.4, 0.8]}
    before = client.contents(video)["annotations"]
    client.change(video, same)
    other = client.change(video, same | {"segment": [1.2, 1.6]}, status=409, client="b")
    assert other["newer"][0]["after"]["segment"] == [0.4, 0.8]
    client.change(video, same | {"label": "bite"}, status=409, client="b")
    assert client.contents(video)["annotations"] == before


def test_a_video_of_one_frame(client: Client) -> None:
    video = client.videos()["single"]
    client.change(
        video,
        {"op": "add", "id": "s", "label": "groom", "segment": [0, 0.01]},
        {"op": "add", "id": "p", "label": "bite", "segment": [0.03, 0.03]},
        {"op": "reviewed", "add": [0, 1]},
    )
    found = client.contents(video)
    assert [(item["id"], item["segment"]) for item in found["annotations"]] == [("p", [0.0, 0.0]), ("s", [0.0, 0.04])]
    assert found["reviewed"] == [[0.0, 0.04]]


def test_names_are_text(client: Client) -> None:
    video = client.videos()[ODD_NAME.replace("\n", "\\n")]
    labels = client.json("GET", "/api/project")["labels"]
    odd = "x\ud800 \u2028<b>\"'&"
    client.change(video, {"op": "labels", "labels": [*labels, odd]})
    client.change(video, {"op": "add", "id": "odd", "label": odd, "segment": [0, 1], "comment": "\ud83d"}, status=400)
    client.change(video, {"op": "add", "id": "odd", "label": odd, "segment": [0, 0.04], "comment": "\ud83d"})
    answer = client.ask("GET", f"/api/videos/{video}")[2]
    assert strict(answer)["annotations"][0]["label"] == odd
    content = client.ask("GET", "/api/export?format=json")[2]
    assert strict(content)["database"][ODD_NAME.replace("\n", "\\n")]["annotations"][0]["comment"] == "\ud83d"
    client.change(video, {"op": "delete", "id": "odd"}, {"op": "labels", "labels": labels})
    status, headers, _ = client.ask("GET", "/api/export?format=csv")
    assert status == 200 and "\n" not in headers["Content-Disposition"]


def restarted(videos: Path, tmp_path: Path) -> Any:
    options = ("--annotations", tmp_path / "l.json", "--labels", "bite!")
    return labelling(videos / "one.mp4", *options, home=tmp_path / "home", code=None)


@pytest.mark.slow
def test_a_journal_with_garbage(videos: Path, tmp_path: Path) -> None:
    """Every line that can be read counts; one that cannot is told, unless it is the last, and the journal is kept."""
    with restarted(videos, tmp_path) as client:
        video = client.videos()["one"]
        client.json("POST", "/api/finish", {})
        client.process.wait()
    revision = json.loads((tmp_path / "l.json").read_text())["revision"]

    def line(number: int) -> bytes:
        after = {"id": f"j{number}", "label": "bite", "kind": "point", "segment": [0.4, 0.4]}
        edit = {"what": "annotation", "video": "one", "id": f"j{number}", "after": after}
        return json.dumps({"revision": revision + number, "video": "one", "step": "do", "edits": [edit]}).encode()

    odd = [b"\0" * 50, b"[" * 100_000, b'{"revision": 1e9, "edits": 5}', line(2)[:40], b"\xff\xfe"]
    labels = json.dumps(
        {
            "revision": revision + 4,
            "video": "",
            "step": "do",
            "edits": [{"what": "labels", "video": "", "id": "", "after": None}],
        }
    ).encode()
    none = line(5).replace(b'"annotation"', b'"nothing"')
    journal = b"\n".join([line(1), *odd, line(3), labels, none, line(6)[:-9]])
    (tmp_path / "l.json.journal").write_bytes(journal)
    with restarted(videos, tmp_path) as client:
        assert [item["id"] for item in client.contents(video)["annotations"]] == ["j1", "j3"]
        assert client.json("GET", "/api/project")["labels"][0]["name"] == "bite"
        client.json("POST", "/api/finish", {})
        client.process.wait()
        said = client.process.stderr.read() if client.process.stderr else ""
    assert "7 lines of l.json.journal cannot be read" in said.replace(f"{tmp_path}/", "")
    assert [path.read_bytes() for path in (tmp_path / "l.json.backups").glob("*-journal.json")] == [journal]


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        {"labels": 5},
        {"labels": {"groom": 1}},
        {"database": {"one": {"annotations": 5}}},
        {"database": {"one": {"annotations": {"a": 1}}}},
        {"database": {"one": {"reviewed": [[0, "x"]]}}},
        {"database": {"one": {"annotations": [{"label": "a", "segment": [0, 1], "subject": ["x"]}]}}},
    ],
    ids=json.dumps,
)
def test_files_of_other_shapes_are_told(videos: Path, tmp_path: Path, tal: Any, content: Any) -> None:
    file = tmp_path / "l.json"
    file.write_text(json.dumps({"database": {}} | content))
    done = tal("label", videos / "one.mp4", "--annotations", file, "--no-browser")
    assert done.code == 3 and done.err.startswith(f"error: {file}: "), done.err
    assert json.loads(file.read_text()) == {"database": {}} | content


@pytest.mark.slow
def test_a_link_to_a_file_is_that_file(videos: Path, tmp_path: Path, tal: Any) -> None:
    with restarted(videos, tmp_path) as client:
        (tmp_path / "m.json").symlink_to("l.json")
        second = tal("label", videos / "one.mp4", "--annotations", tmp_path / "m.json", "--no-browser")
        assert second.code == 2 and client.url in second.err


@pytest.mark.slow
def test_videos_that_change_meanwhile(tmp_path: Path) -> None:
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    write_numbered_video(one, 50, sound=None)
    write_numbered_video(two, 75, sound=None)
    with labelling(one, "--annotations", tmp_path / "l.json", "--labels", "groom,bite!", home=tmp_path) as client:
        video = client.videos()["one"]
        assert len(client.edges(video)) == 51
        two.replace(one)
        assert len(client.edges(video)) == 76  # of the file that is played
        client.change(video, {"op": "add", "id": "late", "label": "groom", "segment": [2.4, 3.0]})
        one.unlink()
        assert client.ask("GET", f"/api/videos/{video}/media")[0] == 404
        client.change(video, {"op": "add", "id": "gone", "label": "bite", "segment": [0.4, 0.4]})
        os.mkfifo(one)
        assert client.ask("GET", f"/api/videos/{video}/media")[0] == 404
        assert client.ask("GET", f"/api/videos/{video}/thumbnails?from=0&to=1&count=1")[0] == 404
        one.unlink()
        one.mkdir()
        assert client.ask("GET", f"/api/videos/{video}/media")[0] == 404
        assert len(client.contents(video)["annotations"]) == 2


@pytest.mark.slow
def test_an_annotation_file_that_becomes_a_folder(videos: Path, tmp_path: Path) -> None:
    with restarted(videos, tmp_path) as client:
        video, file = client.videos()["one"], tmp_path / "l.json"
        file.unlink()
        file.mkdir()
        client.change(video, {"op": "add", "id": "a", "label": "bite", "segment": [0.4, 0.4]})
        deadline = time.monotonic() + 20
        while not client.json("GET", "/api/project")["problem"]:
            assert time.monotonic() < deadline
        assert client.ask("GET", "/api/export?format=csv")[0] == 503  # nothing old is given as if it were new
        assert b'"a"' in client.ask("GET", "/api/export?format=json")[2]
        file.rmdir()
        client.json("POST", "/api/finish", {})
    assert [item["id"] for item in json.loads(file.read_text())["database"]["one"]["annotations"]] == ["a"]
