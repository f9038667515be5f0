"""A Django project in one file, with its users in the chat.

python scripts/examples/django_app.py            makes the tables and the user ann (password: secret)
gunicorn --chdir scripts/examples -c scripts/examples/gunicorn_conf.py django_app:application
"""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "not a secret"),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DATABASE", "app.db")}
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
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
from django.urls import path  # noqa: E402

from threadchat import Chat, User  # noqa: E402

chat = Chat()
application = chat.mount(get_wsgi_application(), path="/chat")  # the one line of a wsgi.py


@chat.authenticate
def who(environ: dict[str, Any]) -> dict[str, Any] | None:
    """Reads Django's session cookie from the WebSocket's request; None is somebody anonymous."""
    wanted = WSGIRequest(environ)
    SessionMiddleware(lambda request: HttpResponse()).process_request(wanted)
    user = get_user(wanted)
    return {"id": user.pk, "nickname": user.get_username()} if user.is_authenticated else None


@chat.authorize
def may(user: User, action: str, room: str | int) -> bool:
    """Asks the database, on the connection's own thread; Django closes only the requests' connections."""
    try:
        if room != "staff":
            return True
        return bool(get_user_model().objects.filter(pk=user.id, is_staff=True).exists())
    finally:
        connections.close_all()


def sign_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.GET["name"], password=request.GET["password"])
    if user is None:
        return HttpResponse("no\n", status=403)
    login(request, user)
    chat.publish("lobby", f"{user.get_username()} is here", nickname="site")
    return HttpResponse("yes\n")


urlpatterns = [path("login", sign_in)]

if __name__ == "__main__":
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    get_user_model().objects.create_user("ann", password="secret", is_staff=True)
