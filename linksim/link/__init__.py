"""The link: packet, phy and channel composed under one budget; AMC, framing, the ledger."""
