"""Floor 5: composition roots: the only place that names several rooms."""
