"""Runs the JavaScript of the topics that is no file in Chromium, in a page that has what it uses."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import Any

import pytest

from scripts.ports import free_port
from tests.docs.pages import PAGES, fences, file_name, text_of
from tests.e2e.browser import Person
from threadchat import Chat, Config

BLOCKS = [
    pytest.param(block.text, id=page.stem)
    for page in PAGES
    for block in fences(text_of(page))
    if block.language == "js" and file_name(block) is None
]
KEY = secrets.token_urlsafe(32)
BEFORE = """
const said = (what) => document.body.append(JSON.stringify(what), "\\n");
const draw = said, show = said, banner = said;
"""
AFTER = '\nsaid("the end");'


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_as_it_stands(block: str, driver: Any, tmp_path: Path) -> None:
    flask = pytest.importorskip("flask")
    serving = pytest.importorskip("werkzeug.serving")
    from threadchat.server.auth.tokens import sign

    config = Config(token_key=KEY)
    chat = Chat(config)

    @chat.command("order.cancel")
    def cancel(caller: Any, data: dict[str, int]) -> dict[str, int]:
        assert data == {"id": 17}
        return {"left": 3}

    app = flask.Flask(__name__)
    app.wsgi_app = chat.mount(app.wsgi_app)
    app.add_url_rule("/token", "token", lambda: sign(config, 7, "ann", None, seconds=60))
    imports, _, rest = block.partition("\n")
    script = f"{imports}\n{BEFORE}{rest}{AFTER}"
    page = "<!doctype html><link rel=icon href=data:,><body><script type=module src=/page.js></script>"
    app.add_url_rule("/", "page", lambda: page)
    app.add_url_rule("/page.js", "js", lambda: flask.Response(script, mimetype="text/javascript"))
    port = free_port()
    server = serving.make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        driver.get_log("browser")
        person = Person(driver, f"http://127.0.0.1:{port}/")
        person.wait(lambda: "the end" in person.run("return document.body.textContent"), "the block to end")
        assert [entry["message"] for entry in driver.get_log("browser")] == []
        if "order.created" in block:
            chat.emit("orders", "order.created", {"what": "tea"})
            person.wait(lambda: "tea" in person.run("return document.body.textContent"), "the event")
    finally:
        chat.close()
        server.shutdown()
        thread.join()
        server.server_close()
