"""`python -m deploy.grafana` writes every dashboard anew."""

from pathlib import Path

from deploy.grafana.boards import FOLDER, write

if __name__ == "__main__":
    write(Path(FOLDER))
