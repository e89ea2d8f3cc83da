"""Grafana's dashboards, as code.

    python -m deploy.grafana

writes dashboards/*.json, the same bytes every time; a test compares them with the committed
files, and another asks every query of every panel of a real Prometheus. Change the code, not the
JSON: the dashboards are provisioned read-only.
"""
