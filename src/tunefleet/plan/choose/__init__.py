"""Which settings are chosen, advised or refused, from what they are expected to need."""
