"""The bottom layer: what every other package stands on. It knows no problem's column, no Airflow, no HTTP server."""
