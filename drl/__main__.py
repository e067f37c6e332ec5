"""``python -m drl`` is the command ``drl``."""

from drl.cli.main import app

if __name__ == "__main__":
    app()
