"""The stages as functions, the release gate, the deploy targets, the local stack and the command line `loop`."""
