"""The reading half of each backend: what a recording left, as a profile. numpy and the model, so it is loaded while the target runs."""
