"""A Flask application whose configuration comes from the environment."""

import os

from flask import Flask


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["DATABASE"] = os.environ["SHOP_DATABASE"]
    return app
