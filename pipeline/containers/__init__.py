"""What only containers need: secrets made at the first start, databases and roles, the demo's traffic; finding Airflow
from inside, and from outside what compose.yaml publishes.

It calls no engine: steps are run by compose.yaml or Kubernetes. Images of single versions are pipeline.image's.
"""
