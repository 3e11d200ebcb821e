"""`tal label` as a process: its command line, who may ask, ranges, kills."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from label_client import Client, labelling
from numbered_videos import write_numbered_video
from small_runs import TAL, Tal

from tal_cli import app


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_numbered_video(folder / "one.mp4", 60)
    write_numbered_video(folder / "two.mkv", 50, stamps=[66 + 33 * number + 9 * (number % 3) for number in range(50)])
    (folder / "two.mkv").chmod(0o644)
    outside = write_numbered_video(tmp_path_factory.mktemp("outside") / "secret.mp4", 10, sound=None)
    (folder / "link.mp4").symlink_to(outside)
    os.mkfifo(folder / "pipe.mp4")
    (folder / "list.mp4").write_text("#EXTM3U\nhttp://example.com/a.ts\n")
    return folder


@pytest.fixture(scope="module")
def client(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One server for the tests that leave it as it was."""
    options = ("--annotations", tmp_path_factory.mktemp("out") / "labels.json", "--labels", "groom:g,bite!")
    with labelling(videos, *options, home=tmp_path_factory.mktemp("home"), code=None) as client:
        yield client
        # Whatever was asked of it, it lives and can end.
        client.json("POST", "/api/finish", {})
        assert client.process.wait(20) == 0


def test_only_videos_of_the_folder_are_there(client: Client) -> None:
    assert set(client.videos()) == {"one", "two"}


def test_frames_are_those_of_the_file(client: Client) -> None:
    ids = client.videos()
    assert client.edges(ids["one"]) == pytest.approx([number / 25 for number in range(61)])
    stamps = [0.033 * number + 0.009 * (number % 3) for number in range(50)]
    assert client.edges(ids["two"])[:50] == pytest.approx(stamps)
    facts = client.contents(ids["two"])
    assert facts["frames"] == 50 and facts["offset"] == pytest.approx(0.066)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "null"}, 403),
        ({"Cookie": ""}, 403),
        ({"Cookie": "tal_label=x"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ({"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_who_may_change_things(client: Client, headers: dict[str, str], status: int) -> None:
    video = client.videos()["one"]
    op = {"op": "reviewed", "remove": [0, 1]}
    found, _, body = client.ask("POST", "/api/changes", {"video": video, "client": "x", "ops": [op]}, headers)
    assert found == status and (status == 200 or "\n" not in json.loads(body)["error"])


def test_hosts_of_this_machine_are_one(client: Client) -> None:
    for host in (f"localhost:{client.port}", f"[::1]:{client.port}"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert client.ask("POST", "/api/session", {"token": client.token}, headers)[0] == 200
        assert client.ask("POST", "/api/session", {"token": client.token}, {"Host": host})[0] == 403
    connection = http.client.HTTPConnection("::1", client.port)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200


def test_an_old_token_is_none(client: Client) -> None:
    for token in ("", "x" * 22, client.token[:-1], client.token + "x", None, "ü"):
        assert client.ask("POST", "/api/session", {"token": token})[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../api.py",
        "/static/%2e%2e/web/api.py",
        "/static/..%2fweb%2fapi.py",
        "/static//etc/passwd",
        "/static/none.js",
        "/api/videos/../../etc/passwd/media",
        "/api/videos/link/media",
        "/api/nothing",
    ],
)
def test_no_path_comes_from_the_page(client: Client, path: str) -> None:
    assert client.ask("GET", path)[0] == 404


def test_headers_of_every_answer(client: Client) -> None:
    for path in ("/", "/static/main.js", "/api/project", "/api/nothing"):
        _, headers, _ = client.ask("GET", path)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


def test_bodies_and_heads_have_limits(client: Client) -> None:
    assert client.ask("POST", "/api/changes", b"x" * (2 << 20))[0] == 413
    assert client.ask("GET", "/api/project", headers={"X-Long": "x" * (17 << 10)})[0] == 413
    assert client.ask("POST", "/api/changes", b"[1]")[0] == 400
    assert client.ask("POST", "/api/changes", b"{")[0] == 400
    with socket.create_connection(("127.0.0.1", client.port)) as raw:
        raw.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert client.videos()


def test_slow_clients_stop_no_other(client: Client) -> None:
    slow = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(100)]
    for one in slow:
        one.sendall(b"GET / HTTP/1.1\r\n")
    assert client.videos()
    for one in slow:
        one.close()


def test_ranges(client: Client, videos: Path) -> None:
    path = f"/api/videos/{client.videos()['one']}/media"
    content = (videos / "one.mp4").read_bytes()
    status, headers, body = client.ask("GET", path)
    assert (status, body, headers["Accept-Ranges"]) == (200, content, "bytes")
    tag = headers["ETag"]
    for asked, part in (("0-0", slice(0, 1)), ("100-199", slice(100, 200)), ("-50", slice(-50, None))):
        status, headers, body = client.ask("GET", path, headers={"Range": f"bytes={asked}", "If-Range": tag})
        assert (status, body) == (206, content[part])
    assert headers["Content-Range"] == f"bytes {len(content) - 50}-{len(content) - 1}/{len(content)}"
    assert client.ask("GET", path, headers={"Range": "bytes=5-"})[2] == content[5:]
    status, headers, _ = client.ask("GET", path, headers={"Range": f"bytes={len(content)}-"})
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert client.ask("GET", path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})[0] == 200
    status, headers, body = client.ask("HEAD", path)
    assert (status, int(headers["Content-Length"]), body) == (200, len(content), b"")


def test_pictures_and_sound(client: Client) -> None:
    ids = client.videos()
    status, headers, body = client.ask("GET", f"/api/videos/{ids['one']}/thumbnails?from=1&count=1")
    assert (status, headers["Content-Type"], body[:2]) == (200, "image/jpeg", b"\xff\xd8")
    found = client.json("GET", f"/api/videos/{ids['one']}/thumbnails?from=0&to=2&count=3")["thumbnails"]
    assert len(found) == 3 and all(item.startswith("data:image/jpeg;base64,") for item in found)
    wave = client.json("GET", f"/api/videos/{ids['one']}/waveform?width=20&from=0&to=2")
    assert len(wave["min"]) == len(wave["max"]) == 20 and max(wave["max"]) > 20 > -20 > min(wave["min"])
    assert client.ask("GET", f"/api/videos/{ids['one']}/waveform?width=x")[0] == 400


def test_the_server_is_small(client: Client) -> None:
    maps = Path(f"/proc/{client.process.pid}/maps")
    if not maps.exists():
        pytest.skip("this system does not tell what a process has loaded")
    for path in ("project", "jobs", "queue", f"videos/{client.videos()['one']}"):
        client.json("GET", f"/api/{path}")
    loaded = {Path(line.split()[-1]).parent.name for line in maps.read_text().splitlines()}
    assert "lib-dynload" in loaded and not loaded & {"numpy", "_core", "numpy.libs", "torch", "av", "av.libs", "PIL"}


def test_a_queue_says_why(client: Client) -> None:
    for video in client.videos().values():
        client.edges(video)  # a video is in the queue once its length is known
    items = client.json("GET", "/api/queue")["items"]
    assert items and all(item["why"] and item["to"] > item["from"] for item in items)
    client.json("POST", f"/api/queue/{items[0]['id']}", {"done": True})
    assert items[0]["id"] not in [item["id"] for item in client.json("GET", "/api/queue")["items"]]


def test_events_tell_other_windows(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    connection.request("GET", "/api/events", headers={"Cookie": client.cookie})
    lines = connection.getresponse()
    assert json.loads(lines.readline().removeprefix(b"data: ")) == {"event": "hello"}
    lines.readline()
    video = client.videos()["one"]
    client.change(video, {"op": "add", "id": "told", "label": "groom", "segment": [0.0, 0.4]}, client="me")
    told: dict[str, object] = {"event": ""}
    while told["event"] != "change":
        line = lines.readline()
        told = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data") else told
    assert told["client"] == "me"
    client.change(video, {"op": "delete", "id": "told"})


@pytest.mark.slow
def test_errors_of_the_command_line(tal: Tal, videos: Path, tmp_path: Path) -> None:
    one = videos / "one.mp4"
    assert tal("label", "nowhere.mp4", "--no-browser").code == 3
    assert tal("label", videos / "pipe.mp4", "--no-browser").code == 3
    wrong = tal("label", one, "--labels", "a:xy", "--no-browser")
    assert wrong.code == 2 and "a:xy" in wrong.err
    broken = tmp_path / "labels.json"
    broken.write_text('{"database": 3}')
    assert tal("label", one, "--annotations", broken, "--no-browser").code == 3
    assert broken.read_text() == '{"database": 3}'


@pytest.mark.slow
def test_one_server_a_file(client: Client, videos: Path, tal: Tal, tmp_path: Path) -> None:
    with labelling(videos / "one.mp4", "--annotations", tmp_path / "l.json", home=tmp_path) as first:
        second = tal("label", videos / "one.mp4", "--annotations", tmp_path / "l.json", "--no-browser")
        assert second.code == 2 and first.url in second.err
        assert str(first.process.pid) in second.err


@pytest.mark.slow
def test_interrupting_loses_nothing(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    with labelling(videos / "one.mp4", "--annotations", path, "--labels", "groom", home=tmp_path, code=None) as client:
        video = client.videos()["one"]
        client.change(video, {"op": "add", "id": "a", "label": "groom", "segment": [0.4, 0.8]})
        client.process.send_signal(signal.SIGINT)
        assert client.process.wait(20) == 130
    assert [item["id"] for item in json.loads(path.read_text())["database"]["one"]["annotations"]] == ["a"]
    assert not path.with_name("l.json.lock").exists() and not path.with_name("l.json.journal").exists()


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(videos: Path, tmp_path: Path) -> None:
    path, rng = tmp_path / "l.json", random.Random(1)
    acknowledged: dict[str, bool] = {}
    for _ in range(4):
        with labelling(videos / "one.mp4", "--annotations", path, "--labels", "bite!", home=tmp_path, code=None) as one:
            video = one.videos()["one"]
            there = {item["id"] for item in one.contents(video)["annotations"]}
            assert there == {identity for identity, is_there in acknowledged.items() if is_there}
            end = time.monotonic() + rng.uniform(0.3, 1.5)
            killer = subprocess.Popen(["sleep", str(end - time.monotonic())])
            while killer.poll() is None:
                number = len(acknowledged)
                one.change(
                    video, {"op": "add", "id": f"a{number}", "label": "bite", "segment": [0.04 * (number % 60)] * 2}
                )
                acknowledged[f"a{number}"] = True
                if number % 3 == 0:
                    one.change(video, {"op": "delete", "id": f"a{number}"})
                    acknowledged[f"a{number}"] = False
            one.process.kill()
            one.process.wait()
    with labelling(videos / "one.mp4", "--annotations", path, home=tmp_path) as one:
        there = {item["id"] for item in one.contents(one.videos()["one"])["annotations"]}
    assert there == {identity for identity, is_there in acknowledged.items() if is_there} and len(acknowledged) > 20
    json.loads(path.read_text())


@pytest.mark.slow
def test_suggestions_come_from_results(videos: Path, tmp_path: Path) -> None:
    results = {
        "results": {
            "one": [
                {"label": "groom", "segment": [0.4, 0.8], "score": 0.4},
                {"label": "new", "segment": [1.0, 1.5], "score": 0.9},
            ]
        }
    }
    (tmp_path / "r.json").write_text(json.dumps(results))
    options = ("--annotations", tmp_path / "l.json", "--labels", "groom", "--suggestions", tmp_path / "r.json")
    with labelling(videos / "one.mp4", *options, home=tmp_path) as client:
        while not (found := client.contents(client.videos()["one"])["suggestions"]):
            time.sleep(0.02)  # they are read once the page can be opened
        assert [(item["label"], item["score"], item["status"]) for item in found] == [
            ("groom", 0.4, "pending"),
            ("new", 0.9, "pending"),
        ]
        assert client.json("GET", "/api/queue")["items"][0]["why"].startswith("groom? score 0.40")


def test_the_terminal_says_what_is_not_read(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.csv").write_text("video,label,start,end\none,groom,0.4,0.81\n")
    elsewhere = {"annotations": [{"label": "groom", "segment": [1, 2]}]}
    (tmp_path / "old.json").write_text(json.dumps({"database": {"elsewhere": elsewhere}}))
    told = [str(videos / "one.mp4"), "--annotations", str(tmp_path / "old.csv"), "--no-browser"]
    assert app.run(["label", *told, "--suggestions", str(tmp_path / "nope.json")]) == 2
    errors = capsys.readouterr().err
    assert "old.json is already there" in errors and "nope.json: no such results file, and no model named" in errors
    assert "old.json: it has none of these videos, only others (elsewhere)" in errors


@pytest.mark.slow
def test_a_file_of_another_form_is_imported(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("video,label,start,end\none,groom,0.4,0.81\nelsewhere,walk,1,2\n")
    with labelling(videos / "one.mp4", "--annotations", tmp_path / "old.csv", home=tmp_path) as client:
        (item,) = client.contents(client.videos()["one"])["annotations"]
        client.change(client.videos()["one"], {"op": "update", "id": item["id"], "segment": [0.4, 0.88]})
    found = json.loads((tmp_path / "old.json").read_text())["database"]
    assert [item["segment"] for item in found["one"]["annotations"]] == [[0.4, 0.88]]
    assert [item["segment"] for item in found["elsewhere"]["annotations"]] == [[1.0, 2.0]]
    (tmp_path / "one_labels.csv").write_text(",background,dig\n0,1,0\n1,0,1\n2,0,1\n3,1,0\n")
    with labelling(videos / "one.mp4", "--annotations", tmp_path / "one_labels.csv", home=tmp_path) as client:
        (item,) = client.contents(client.videos()["one"])["annotations"]
        assert (item["label"], item["segment"]) == ("dig", [0.04, 0.12])


def test_help_is_quick_and_complete() -> None:
    done = subprocess.run([*TAL, "label", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "Example: tal label" in done.stdout
    for option in ("--annotations", "--labels", "--subjects", "--suggestions", "--person", "--order", "--port"):
        assert option in done.stdout


def test_training_does_not_begin_where_nothing_is_reviewed(videos: Path, tmp_path: Path) -> None:
    options = ("--annotations", tmp_path / "l.json", "--labels", "groom")
    with labelling(videos / "one.mp4", *options, home=tmp_path) as client:
        video = client.videos()["one"]
        client.change(video, {"op": "add", "id": "x", "label": "groom", "segment": [0.4, 0.8]})
        told = client.json("GET", "/api/jobs")["would_use"]["train"]
        assert (told["annotations"], told["outside"]) == (0, 1)
        assert "nothing to learn from" in client.json("POST", "/api/jobs", {"kind": "train"}, 409)["error"]
        client.change(video, {"op": "reviewed", "add": [0, 0.6]})
        told = client.json("GET", "/api/jobs")["would_use"]["train"]
        assert (told["annotations"], told["outside"], told["labels"]) == (1, 0, {"groom": 1})
