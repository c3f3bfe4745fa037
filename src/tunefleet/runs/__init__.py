"""Floor 6: composition roots: the only place that names several rooms."""
