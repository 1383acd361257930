"""The assets by which DAGs meet, each named once."""

from airflow.sdk import Asset

RETRAIN = Asset(name="retrain", uri="loop://retrain")
