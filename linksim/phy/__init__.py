"""The digital physical layer as blocks on arrays: channel code, modem, MCS table."""
