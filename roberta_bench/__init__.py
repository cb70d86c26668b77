"""What `roberta bench` needs: it times the encoder of each framework and of other implementations."""
