"""From documents to batches: reading and tokenising, packing into blocks, masking."""
