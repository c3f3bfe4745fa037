"""Room data: row -> conversation -> template -> loss mask -> packed sequence -> order -> micro-batch."""
