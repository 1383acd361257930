"""What only containers need: secrets made at the first start, databases and roles, the demo's traffic.

It knows no Docker: these are one-shot steps that compose.yaml runs. Images of single versions are pipeline.image's.
"""
