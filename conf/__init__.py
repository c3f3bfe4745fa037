"""The config groups, as the package `tunefleet.conf`: Hydra finds them at `pkg://tunefleet.conf`."""
