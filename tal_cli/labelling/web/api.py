"""What each address of the page's server answers."""

from __future__ import annotations

import base64
import json
import math
import mimetypes
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources

from tal_cli.error_report import message_of
from tal_cli.extractors.errors import TalError
from tal_cli.labelling.frames import FrameTimes
from tal_cli.labelling.library import Video
from tal_cli.labelling.model_work import ModelWork
from tal_cli.labelling.project.document import Json
from tal_cli.labelling.project.ops import Conflict, OpError
from tal_cli.labelling.project.store import NotSaved
from tal_cli.labelling.session import Session
from tal_cli.labelling.web.media import send_file
from tal_cli.labelling.web.messages import Refused, Request, Response, answer_json
from tal_cli.pages import shared_scripts

Route = Callable[..., Response]
KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}
WIDEST = 4000  # columns of a waveform
MOST_OPS = 5000


class Api:
    """Answers the requests that the server lets through."""

    def __init__(self, session: Session, models: ModelWork) -> None:
        self._session = session
        self._models = models
        self._routes: tuple[tuple[str, re.Pattern[str], Route], ...] = tuple(
            (method, re.compile(path), route)
            for method, path, route in (
                ("GET", r"/", self.page),
                ("GET", r"/static/([a-z_]+\.[a-z]+)", self.static),
                ("GET", r"/api/project", self.project),
                ("GET", r"/api/videos/(\w+)", self.contents),
                ("GET", r"/api/videos/(\w+)/frames", self.frames),
                ("GET", r"/api/videos/(\w+)/media", self.media),
                ("GET", r"/api/videos/(\w+)/preview", self.preview),
                ("GET", r"/api/videos/(\w+)/waveform", self.waveform),
                ("GET", r"/api/videos/(\w+)/thumbnails", self.thumbnails),
                ("POST", r"/api/changes", self.changes),
                ("POST", r"/api/(undo|redo)", self.undo),
                ("GET", r"/api/events", self.events),
                ("GET", r"/api/queue", self.queue),
                ("POST", r"/api/queue/(\w+)", self.queue_done),
                ("GET", r"/api/jobs", self.jobs),
                ("POST", r"/api/jobs", self.add_job),
                ("GET", r"/api/jobs/(\w+)", self.job),
                ("DELETE", r"/api/jobs/(\w+)", self.cancel_job),
                ("GET", r"/api/export", self.export),
                ("POST", r"/api/settle", self.settle),
                ("POST", r"/api/settings", self.settings),
                ("POST", r"/api/finish", self.finish),
            )
        )

    def respond(self, request: Request) -> Response:
        """The answer to a request. Raises Refused."""
        method = "GET" if request.method == "HEAD" else request.method
        for wanted, path, route in self._routes:
            match = path.fullmatch(request.path)
            if match is not None and wanted == method:
                try:
                    return route(request, *match.groups())
                except Conflict as error:
                    newer = {"newer": error.newer, "revision": self._session.store.document.revision}
                    raise Refused(409, f"{error}; look at both and choose", newer) from None
                except NotSaved as error:
                    raise Refused(503, str(error)) from None
                except (OpError, RuntimeError) as error:
                    raise Refused(400, str(error)) from None
                except TalError as error:
                    hint = f"; {error.remedy}" if error.remedy else ""
                    raise Refused(409 if error.exit_code == 2 else 404, message_of(error) + hint) from None
        raise Refused(404, f"{request.method} {request.path}: there is nothing here")

    # ---- the page

    def page(self, request: Request) -> Response:
        """`GET /`."""
        return self.static(request, "index.html")

    def static(self, request: Request, name: str) -> Response:
        """`GET /static/NAME`, from a fixed list."""
        content = page_files().get(name)
        if content is None:
            raise Refused(404, f"/static/{name}: there is nothing here")
        kind = KINDS.get(name[name.rfind(".") :]) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content, headers={"Cache-Control": "no-cache"}, kind=kind)

    def project(self, request: Request) -> Response:
        """`GET /api/project`."""
        return answer_json(self._session.project())

    # ---- videos

    def _video(self, identity: str) -> Video:
        video = self._session.video(identity)
        if video is None:
            raise Refused(404, f"video {identity}: there is none with this id; see GET /api/project")
        return video

    def contents(self, request: Request, identity: str) -> Response:
        """`GET /api/videos/{id}`."""
        return answer_json(self._session.contents(self._video(identity)))

    def frames(self, request: Request, identity: str) -> Response:
        """`GET /api/videos/{id}/frames`: the steps from each frame to the next, the last being how long it is shown."""
        video = self._video(identity)
        times = video.times()
        self._session.learn(video)
        headers = {
            "Content-Encoding": "gzip",
            "X-Time-Base": f"{times.base[0]}/{times.base[1]}",
            "X-First-Pts": str(times.first),
            "X-Frames": str(times.frames),
        }
        return Response(times.packed, headers=headers, kind="application/octet-stream")

    def media(self, request: Request, identity: str) -> Response:
        """`GET /api/videos/{id}/media`: the proxy if there is one, else the file; `?original=1` the file."""
        video = self._video(identity)
        original = "original" in request.query
        path = video.path if original else video.played_file
        kind = "video/mp4"
        if path == video.path:
            kind = mimetypes.guess_type(video.path.name)[0] or "application/octet-stream"
        return send_file(request, path, kind)

    def preview(self, request: Request, identity: str) -> Response:
        """`GET /api/videos/{id}/preview`: the proxy that is being made, as it grows: fragmented MP4 without sound."""
        video = self._video(identity)
        if video.proxy_state != "making":
            raise Refused(404, f"{video.name}: no copy is being made; see GET /api/videos/ID")
        return Response(video.preview(), kind="video/mp4")

    def waveform(self, request: Request, identity: str) -> Response:
        """`GET /api/videos/{id}/waveform?width=N&from=&to=`."""
        video = self._video(identity)
        width = min(WIDEST, max(1, int(_number(request, "width", 1000))))
        low, high = video.waveform(*_part(request, video), width)
        return answer_json({"min": low, "max": high})

    def thumbnails(self, request: Request, identity: str) -> Response:
        """`GET /api/videos/{id}/thumbnails?from=&to=&count=`: a JPEG if count is 1, else data URIs."""
        video = self._video(identity)
        pictures = video.pictures(*_part(request, video), int(_number(request, "count", 1)))
        if len(pictures) == 1:
            return Response(base64.b64decode(pictures[0].partition(",")[2]), kind="image/jpeg")
        return answer_json({"thumbnails": pictures})

    # ---- changes

    def changes(self, request: Request) -> Response:
        """`POST /api/changes {"revision", "video", "client", "ops"}`."""
        asked = request.json()
        ops, revision = asked.get("ops"), asked.get("revision")
        if not isinstance(ops, list) or not 0 < len(ops) <= MOST_OPS:
            raise Refused(400, f"ops: expected a list of 1 to {MOST_OPS} objects")
        if revision is not None and (not isinstance(revision, int) or isinstance(revision, bool)):
            raise Refused(400, "revision: expected the number that the last answer had")
        video = self._video(str(asked["video"])) if asked.get("video") else None
        answer = self._session.store.change(
            video.name if video else "",
            ops,
            str(asked.get("client", "")),
            revision,
            str(asked.get("request", "")),
            bool(asked.get("quiet")),
            video.times if video else _no_times,
        )
        return answer_json(answer)

    def undo(self, request: Request, which: str) -> Response:
        """`POST /api/undo`, `/api/redo`: `{"video", "client"}`."""
        asked = request.json()
        name = self._video(str(asked["video"])).name if asked.get("video") else ""
        return answer_json(self._session.store.undo(name, str(asked.get("client", "")), redo=which == "redo"))

    def settle(self, request: Request) -> Response:
        """`POST /api/settle {"keep": "mine" | "theirs" | "both"}`: another program has changed the file."""
        return answer_json(self._session.store.settle(str(request.json().get("keep"))))

    def settings(self, request: Request) -> Response:
        """`POST /api/settings`: the page's settings, kept in the file."""
        asked = request.json()
        self._session.store.look(lambda document: document.extra.__setitem__("settings", asked))
        self._session.store.touch()
        return answer_json({})

    def events(self, request: Request) -> Response:
        """`GET /api/events`: server-sent events."""

        def lines() -> Iterator[bytes]:
            for event in self._session.events.listen():
                yield b": \n\n" if event is None else b"data: " + json.dumps(event).encode() + b"\n\n"

        return Response(lines(), kind="text/event-stream")

    # ---- what is next

    def queue(self, request: Request) -> Response:
        """`GET /api/queue`."""

        def read(document: object) -> list[Json]:
            by_name = self._session.library.by_name
            return [
                {
                    "id": item.id,
                    "video": by_name[item.video].id,
                    "name": item.video,
                    "from": item.start,
                    "to": item.end,
                    "why": item.why,
                    "score": item.score,
                }
                for item in self._session.items(self._session.store.document)
            ]

        return answer_json({"items": self._session.store.look(read)})

    def queue_done(self, request: Request, item: str) -> Response:
        """`POST /api/queue/{item} {"done"}`."""
        self._session.settle(item, bool(request.json().get("done", True)))
        return answer_json({})

    # ---- jobs

    def jobs(self, request: Request) -> Response:
        """`GET /api/jobs`, and what each kind would use."""
        return answer_json({"jobs": self._session.jobs.list(), "would_use": self._models.would_use()})

    def add_job(self, request: Request) -> Response:
        """`POST /api/jobs {"kind": "proxy" | "suggest" | "train"}`."""
        asked = request.json()
        kind = asked.get("kind")
        if kind not in ("proxy", "suggest", "train"):
            raise Refused(400, "kind: expected proxy, suggest or train")
        return answer_json(self._models.add_job(kind, asked).to_json())

    def job(self, request: Request, identity: str) -> Response:
        """`GET /api/jobs/{id}`."""
        found = self._session.jobs.get(identity)
        if found is None:
            raise Refused(404, f"job {identity}: there is none with this id")
        return answer_json(found.to_json())

    def cancel_job(self, request: Request, identity: str) -> Response:
        """`DELETE /api/jobs/{id}`."""
        found = self._session.jobs.get(identity)
        if found is None:
            raise Refused(404, f"job {identity}: there is none with this id")
        self._session.jobs.cancel(found)
        return answer_json(found.to_json())

    # ---- the end

    def export(self, request: Request) -> Response:
        """`GET /api/export?format=`."""
        content, name = self._session.export(request.query.get("format", "json"))
        safe = re.sub(r"[^\w. -]", "_", name, flags=re.ASCII)
        kind = "application/json" if name.endswith(".json") else "application/octet-stream"
        return Response(content, headers={"Content-Disposition": f'attachment; filename="{safe}"'}, kind=kind)

    def finish(self, request: Request) -> Response:
        """`POST /api/finish`: writes the file; the server ends once the answer is sent."""
        if not self._session.store.save():
            raise Refused(503, f"not saved: {self._session.store.problem or 'changes go on; try again'}")
        response = answer_json({"file": str(self._session.file.path)})
        response.after = self._session.finished.set
        return response


@cache
def page_files() -> dict[str, bytes]:
    """The files of the page by name."""
    folder = resources.files("tal_cli.labelling") / "page"
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()} | shared_scripts()


def _number(request: Request, name: str, default: float) -> float:
    try:
        value = float(request.query.get(name) or default)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise Refused(400, f"{name}: expected a number that is not negative")
    return value


def _part(request: Request, video: Video) -> tuple[float, float]:
    """The part of a video between `from` and `to`, seconds."""
    duration = video.times().duration
    start, end = (min(_number(request, name, usual), duration) for name, usual in (("from", 0.0), ("to", duration)))
    return start, max(start, end)


def _no_times() -> FrameTimes:
    raise OpError("no video; name one of GET /api/project")
