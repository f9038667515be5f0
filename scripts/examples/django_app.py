"""A Django project with its users in the chat, under their own primary keys (UUIDs), and a page of its own.

python scripts/examples/django_app.py            makes the tables and the user ann (password: secret)
gunicorn --chdir scripts/examples -c scripts/examples/gunicorn_conf.py django_app:application

The user model is `django_people/models.py`, the page is `pages/django_app.html` and `.js`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django
from django.conf import settings

PAGES = Path(__file__).parent / "pages"

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "not a secret"),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DATABASE", "app.db")}
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django_people",
    ],
    AUTH_USER_MODEL="django_people.Person",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [PAGES]}],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
)
django.setup()

from django.contrib.auth import authenticate, get_user, get_user_model, login  # noqa: E402
from django.contrib.sessions.middleware import SessionMiddleware  # noqa: E402
from django.core.handlers.wsgi import WSGIRequest  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connections  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.shortcuts import redirect, render  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.static import serve  # noqa: E402

from threadchat import Chat, User  # noqa: E402

chat = Chat()
application = chat.mount(get_wsgi_application(), path="/chat")  # the one line of a wsgi.py


@chat.authenticate
def who(environ: dict[str, Any]) -> dict[str, Any] | None:
    """Reads Django's session cookie from the WebSocket's request; None is somebody anonymous.

    An id is an integer or text: a primary key of another type, such as a UUID, is given as text.
    """
    wanted = WSGIRequest(environ)
    SessionMiddleware(lambda request: HttpResponse()).process_request(wanted)
    user = get_user(wanted)
    return {"id": str(user.pk), "nickname": user.get_username()} if user.is_authenticated else None


@chat.authorize
def may(user: User, action: str, room: str | int) -> bool:
    """Asks the database, on the connection's own thread; Django closes only the requests' connections."""
    try:
        if room != "staff":
            return True
        if not isinstance(user.id, str):
            return False  # somebody anonymous has an integer below 0, which is no primary key here
        return bool(get_user_model().objects.filter(pk=user.id, is_staff=True).exists())
    finally:
        connections.close_all()


def page(request: HttpRequest) -> HttpResponse:
    """The page, whose scripts are files of this server, and whose socket is this server's."""
    response = render(request, "django_app.html", {"user": request.user})
    response["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return response


def sign_in(request: HttpRequest) -> HttpResponse:
    """Logs in, and tells everybody in the lobby, and all tabs of this user."""
    user = authenticate(request, username=request.POST["name"], password=request.POST["password"])
    if user is None:
        return HttpResponse("no\n", status=403)
    login(request, user)
    chat.publish("lobby", f"{user.get_username()} is here", nickname="site")
    chat.emit(user=str(user.pk), name="login", data={"from": request.META["REMOTE_ADDR"]})
    return redirect("/")


urlpatterns = [
    path("", page),
    path("login", sign_in),
    path("pages/<path:path>", serve, {"document_root": PAGES}),  # your web server's work
]

if __name__ == "__main__":
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    get_user_model().objects.create_user("ann", password="secret", is_staff=True)
