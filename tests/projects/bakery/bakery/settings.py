import os

from psycopg.conninfo import conninfo_to_dict

SECRET_KEY = "of a project for tests"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "orders"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# an address has everything: host, user, password, TLS
_ADDRESS = conninfo_to_dict(os.environ.get("DATABASE_URL", "dbname=bakery"))
DATABASES = {
    "default": {"ENGINE": "django.db.backends.postgresql", "NAME": _ADDRESS.pop("dbname"), "OPTIONS": _ADDRESS}
}
