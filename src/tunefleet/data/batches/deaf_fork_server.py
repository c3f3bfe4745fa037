"""Its import makes a process deaf to what asks a run to stop: the fork server of data workers imports it first."""

from __future__ import annotations

from tunefleet.data.batches import deaf_to_stops

deaf_to_stops.ignore()
