"""The application of Django's that has the people in it: see django_app.py."""
