"""Settings from `.env`, which a settings class would read itself; nothing comes from the environment."""

from pathlib import Path

from dotenv import dotenv_values

URL = dotenv_values(Path(__file__).parents[2] / ".env")["ATELIER_DSN"]
