"""Deploy targets: make what the registry says true somewhere, and wait until it is."""
